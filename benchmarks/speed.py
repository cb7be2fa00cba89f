"""Speed and memory beside public libraries, on the same work: `make bench`.

Each implementation is in a process of its own, as its user would run it, and single calls of them alternate, so that
whatever else the machine does slows all of them alike; what counts is the ratio to normflows. All have K steps a level,
L levels, affine coupling with networks of 3x3, 1x1 and 3x3 convolutions, invertible 1x1 convolutions, and are trained
by Adam on the same batches. What differs is said beside each.
"""

import argparse
import math
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glow_pipeline.device import describe_device, keep_freed_memory, resolve_device
from glow_pipeline.flow import Glow
from glow_pipeline.flow.execution import Activations, Execution

CHANNELS, SIDE = 3, 32
MEASURE = "normflows"  # what the ratios are to


class Contender(NamedTuple):
    """An implementation, ready to run."""

    name: str
    model: nn.Module
    log_prob: Callable[[Tensor], Tensor]  # uint8 (B, 3, 32, 32) -> nats (B,)
    sample: Callable[[int], object]  # n images, in whatever form


def glow_pipeline(
    K: int, L: int, hidden_channels: int, device: torch.device, activations: Activations = "stored"
) -> Contender:
    """Ours: with actnorms inside the coupling networks, as in the paper."""
    flow = Glow((CHANNELS, SIDE, SIDE), K, L, hidden_channels).to(device).to(memory_format=torch.channels_last)
    images = sample_images(64, device)
    flow.initialize(flow.dequantization.forward(images, torch.rand(images.shape, device=device))[0])
    flow.execution = Execution(activations)
    keep_freed_memory(device)  # as the pipeline does
    generator = torch.Generator(device).manual_seed(0)
    return Contender(
        "glow_pipeline" if activations == "stored" else f"glow_pipeline, {activations}",
        flow,
        lambda images: flow.log_prob(images, torch.rand(images.shape, device=device)),
        lambda n: flow.decode(flow.draw_latents(n, generator), 0.7),
    )


def normflows(K: int, L: int, hidden_channels: int, device: torch.device) -> Contender:
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
    return Contender("normflows", model, lambda images: model.log_prob(dequantized(images), None), model.sample)


def freia(K: int, L: int, hidden_channels: int, device: torch.device) -> Contender:
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

    with torch.no_grad():
        shapes = [z.shape[1:] for z in model(torch.zeros(1, CHANNELS, SIDE, SIDE, device=device))[0]]

    def sample(n: int) -> object:
        return model([0.7 * torch.randn(n, *shape, device=device) for shape in shapes], rev=True)

    return Contender("FrEIA", model, log_prob, sample)


BUILD: dict[str, Callable[[int, int, int, torch.device], Contender]] = {
    "stored": glow_pipeline,
    "reversible": partial(glow_pipeline, activations="reversible"),
    "normflows": normflows,
    "FrEIA": freia,
}


def dequantized(images: Tensor) -> Tensor:
    """As ours does it, for those that leave it to their user."""
    return (images + torch.rand(images.shape, device=images.device)) / 256 - 0.5


def sample_images(n: int, device: torch.device) -> Tensor:
    """Smooth random images, uint8 (n, 3, 32, 32)."""
    coarse = torch.rand(n, CHANNELS, 6, 6)
    smooth = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1) * 235
    return (smooth + torch.rand(n, CHANNELS, SIDE, SIDE) * 20).to(torch.uint8).to(device)


def saved_bytes(contender: Contender, batch: Tensor) -> int:
    """Bytes that autograd keeps between the passes for a batch, each storage once, beyond those for one image."""

    def kept(images: Tensor) -> int:
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = contender.log_prob(images)
        del result
        return sum(storages.values())

    return kept(batch) - kept(batch[:1])


def training_step(contender: Contender) -> Callable[[Tensor], None]:
    """One step of Adam on a batch."""
    optimizer = torch.optim.Adam([p for p in contender.model.parameters() if p.requires_grad], lr=1e-4)

    def step(batch: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        (-contender.log_prob(batch).mean() / batch[0].numel()).backward()
        optimizer.step()

    return step


def scoring(contender: Contender) -> Callable[[Tensor], object]:
    """The log-probabilities of a batch, without gradients."""

    def score(batch: Tensor) -> object:
        with torch.no_grad():
            return contender.log_prob(batch)

    return score


def drawing(contender: Contender) -> Callable[[Tensor], object]:
    """As many images as the batch has."""

    def draw(batch: Tensor) -> object:
        with torch.no_grad():
            return contender.sample(len(batch))

    return draw


class Peer:
    """A contender in a process of its own, as its user would run it; it works only while it is asked."""

    def __init__(self, options: argparse.Namespace, build: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, options, build), daemon=True)
        self._process.start()
        self.name, self.parameters, self.kept = self._pipe.recv()

    def seconds(self, task: str, number: int) -> float:
        """Seconds that one call took."""
        self._pipe.send((task, number))
        took: float = self._pipe.recv()
        return took

    def peak_memory(self) -> int:
        """The most bytes that the process ever had, imports included, or had on a GPU; it ends with this."""
        self._pipe.send(("memory", 0))
        peak: int = self._pipe.recv()
        self._process.join()
        return peak


def serve(pipe: Connection, options: argparse.Namespace, build: str) -> None:
    """What a peer's process does."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    device = resolve_device(options.device)
    batches = sample_images(4 * options.batch_size, device).split(options.batch_size)
    contender = BUILD[build](options.K, options.L, options.hidden_channels, device)
    parameters = sum(p.numel() for p in contender.model.parameters() if p.requires_grad)
    pipe.send((contender.name, parameters, saved_bytes(contender, batches[0])))
    tasks = {"train": training_step(contender), "score": scoring(contender), "sample": drawing(contender)}
    while True:
        task, number = pipe.recv()
        if task == "memory":
            of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            pipe.send(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else of_process)
            return
        _synchronize(device)
        started = time.perf_counter()
        tasks[task](batches[number % len(batches)])
        _synchronize(device)
        pipe.send(time.perf_counter() - started)


def alternate(peers: list[Peer], task: str, seconds: float) -> dict[str, list[float]]:
    """Seconds of single calls, in turn, until the time is over."""
    took: dict[str, list[float]] = {peer.name: [] for peer in peers}
    deadline, round_ = time.perf_counter() + seconds, 0
    while time.perf_counter() < deadline or round_ < 8:
        for peer in peers:
            one = peer.seconds(task, round_)
            if round_ >= 3:  # the first calls warm caches up
                took[peer.name].append(one)
        round_ += 1
    return took


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--K", type=int, default=8)
    parser.add_argument("--L", type=int, default=3)
    parser.add_argument("--hidden-channels", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure each column")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = resolve_device(options.device)
    peers = [Peer(options, build) for build in BUILD]
    columns = {
        "train": alternate(peers, "train", options.seconds),
        "score": alternate(peers, "score", options.seconds / 3),
        "sample": alternate(peers, "sample", options.seconds / 3),
    }
    kept = {peer.name: peer.kept for peer in peers}
    peaks = {peer.name: peer.peak_memory() for peer in peers}
    rounds = {name: len(took[MEASURE]) for name, took in columns.items()}
    work = f"K={options.K} L={options.L} hidden {options.hidden_channels}, batch {options.batch_size}, 3x32x32"
    print(f"{work}, {describe_device(device)}, torch {torch.__version__}, rounds: {rounds}\n")  # noqa: T201
    header = ("implementation", "parameters", *columns, "kept activations", "peak memory")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")  # noqa: T201
    for peer in peers:
        ratios = [
            statistics.median(theirs / ours for ours, theirs in zip(took[peer.name], took[MEASURE], strict=True))
            for took in columns.values()
        ]
        cells = [peer.name, f"{peer.parameters:,}", *(f"{ratio:.2f}" for ratio in ratios)]
        cells += [f"{kept[peer.name] / kept[MEASURE]:.3f}", f"{peaks[peer.name] / 2**20:,.0f} MiB"]
        print(f"| {' | '.join(cells)} |")  # noqa: T201


if __name__ == "__main__":
    main()
