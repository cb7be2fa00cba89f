"""Training speed beside public libraries, on the same work in one process: `make bench`.

Single steps of each implementation alternate, so that whatever else the machine does slows all of them
alike; what counts is the ratio. All have K steps a level, L levels, affine coupling with networks of
3x3, 1x1 and 3x3 convolutions, invertible 1x1 convolutions, and are trained by Adam on the same batches.
What differs is said beside each.
"""

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glow_pipeline.device import describe_device, resolve_device
from glow_pipeline.flow import Glow

CHANNELS, SIDE = 3, 32
LogProb = Callable[[Tensor], Tensor]


def glow_pipeline(K: int, L: int, hidden_channels: int, device: torch.device) -> tuple[nn.Module, LogProb]:
    """Ours: with actnorms inside the coupling networks, as in the paper."""
    flow = Glow((CHANNELS, SIDE, SIDE), K, L, hidden_channels).to(device).to(memory_format=torch.channels_last)
    images = sample_images(64, device)
    flow.initialize(flow.dequantization.forward(images, torch.rand(images.shape, device=device))[0])
    return flow, lambda images: flow.log_prob(images, torch.rand(images.shape, device=device))


def normflows(K: int, L: int, hidden_channels: int, device: torch.device) -> tuple[nn.Module, LogProb]:
    """The normflows package, built as its Glow example does: no actnorm inside the networks, LU 1x1 convolutions."""
    import normflows as nf

    bases, flows, merges = [], [], []
    for i in range(L):
        channels = CHANNELS * 2 ** (L + 1 - i)
        steps = [nf.flows.GlowBlock(channels, hidden_channels, split_mode="channel", scale=True) for _ in range(K)]
        flows.append([*steps, nf.flows.Squeeze()])
        side = SIDE // 2 ** (L - i)
        if i > 0:
            merges.append(nf.flows.Merge())
            bases.append(nf.distributions.DiagGaussian((channels // 2, side, side)))
        else:
            bases.append(nf.distributions.DiagGaussian((channels, side, side)))
    model = nf.MultiscaleFlow(bases, flows, merges).to(device)
    return model, lambda images: model.log_prob(dequantized(images), None)


def freia(K: int, L: int, hidden_channels: int, device: torch.device) -> tuple[nn.Module, LogProb]:
    """The FrEIA package's AllInOneBlock: fixed rotations instead of learned 1x1 convolutions, no priors at splits."""
    import FrEIA.framework as ff
    import FrEIA.modules as fm

    def network(channels_in: int, channels_out: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels_in, hidden_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_channels, hidden_channels, 1),
            nn.ReLU(),
            nn.Conv2d(hidden_channels, channels_out, 3, padding=1),
        )

    nodes = [ff.InputNode(CHANNELS, SIDE, SIDE)]
    for level in range(L):
        nodes.append(ff.Node(nodes[-1], fm.IRevNetDownsampling, {}))
        for _ in range(K):
            arguments = {"subnet_constructor": network, "permute_soft": True}
            nodes.append(ff.Node(nodes[-1], fm.AllInOneBlock, arguments))
        if level < L - 1:
            split = ff.Node(nodes[-1], fm.Split, {})
            nodes += [split, ff.OutputNode(split.out1), ff.Node(split.out0, fm.PermuteRandom, {})]
    nodes.append(ff.OutputNode(nodes[-1]))
    model = ff.GraphINN(nodes).to(device)

    def log_prob(images: Tensor) -> Tensor:
        latents, logdet = model(dequantized(images))
        normal = sum((-0.5 * (z**2 + math.log(2 * math.pi))).flatten(1).sum(1) for z in latents)
        return torch.as_tensor(normal) + logdet

    return model, log_prob


def dequantized(images: Tensor) -> Tensor:
    """As ours does it, for those that leave it to their user."""
    return (images + torch.rand(images.shape, device=images.device)) / 256 - 0.5


def sample_images(n: int, device: torch.device) -> Tensor:
    """Smooth random images, uint8 (n, 3, 32, 32)."""
    coarse = torch.rand(n, CHANNELS, 6, 6)
    smooth = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1) * 235
    return (smooth + torch.rand(n, CHANNELS, SIDE, SIDE) * 20).to(torch.uint8).to(device)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--K", type=int, default=8)
    parser.add_argument("--L", type=int, default=3)
    parser.add_argument("--hidden-channels", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    device = resolve_device(options.device)
    images = sample_images(4 * options.batch_size, device)

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def step(log_prob: LogProb, optimizer: torch.optim.Optimizer, batch: Tensor) -> float:
        synchronize()
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        (-log_prob(batch).mean() / batch[0].numel()).backward()
        optimizer.step()
        synchronize()
        return time.perf_counter() - started

    contenders = []
    for build in (glow_pipeline, normflows, freia):
        model, log_prob = build(options.K, options.L, options.hidden_channels, device)
        trainable = [p for p in model.parameters() if p.requires_grad]
        contenders.append((build.__name__, model, log_prob, torch.optim.Adam(trainable, lr=1e-4)))
    batches = images.split(options.batch_size)
    seconds: dict[str, list[float]] = {name: [] for name, *_ in contenders}
    deadline = time.perf_counter() + options.seconds
    round_ = 0
    while time.perf_counter() < deadline or round_ < 8:
        for name, _, log_prob, optimizer in contenders:
            took = step(log_prob, optimizer, batches[round_ % len(batches)])
            if round_ >= 3:  # the first steps warm caches up
                seconds[name].append(took)
        round_ += 1

    work = f"K={options.K} L={options.L} hidden {options.hidden_channels}, batch {options.batch_size}, 3x32x32"
    print(f"training, {work}, {describe_device(device)}, torch {torch.__version__}, {round_ - 3} rounds\n")  # noqa: T201
    print("| implementation | parameters | images/s, median | speed / normflows |\n|---|---|---|---|")  # noqa: T201
    for name, model, *_ in contenders:
        ratio = statistics.median(b / a for a, b in zip(seconds[name], seconds["normflows"], strict=True))
        speed = options.batch_size / statistics.median(seconds[name])
        size = sum(p.numel() for p in model.parameters() if p.requires_grad)
        print(f"| {name} | {size:,} | {speed:.0f} | {ratio:.2f} |")  # noqa: T201


if __name__ == "__main__":
    main()
