"""The implementations of Glow that `benchmarks/speed.py` measures, with one interface.

All have K steps a level, L levels, affine coupling with networks of 3x3, 1x1 and 3x3 convolutions, and invertible 1x1
convolutions; each one's note names the differences. A library is imported where its contender is built, so that each
process imports only its own library, and the measured start-up is that library's.
"""

import importlib.util
import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adamax

from glow_pipeline.device import resolve_precision, use_device

CHANNELS, SIDE = 3, 32
HARNESS_LEVELS = 3
LR = 2e-4


class Work(NamedTuple):
    """The sizes of the flow and of the batches, the same for all contenders."""

    K: int
    L: int
    hidden_channels: int
    batch_size: int

    def __str__(self) -> str:
        size = f"K={self.K} L={self.L} hidden {self.hidden_channels}"
        return f"{size}, batch {self.batch_size}, {CHANNELS}x{SIDE}x{SIDE}"


class Contender(NamedTuple):
    """An implementation, ready to run. Images are uint8 (B, 3, 32, 32)."""

    model: nn.Module
    train: Callable[[Tensor], object]  # a step of Adamax on these images
    loss: Callable[[Tensor], Tensor]  # images -> scalar, to minimise
    score: Callable[[Tensor], Tensor]  # images -> (B,), the log-probability in some unit
    sample: Callable[[int], object]  # n images, in any form
    note: str = ""  # differences from our work


class CannotError(Exception):
    """A task that a contender cannot do, with the reason."""


Build = Callable[[Work, torch.device], Contender]


def glow_pipeline(work: Work, device: torch.device, **execution: Any) -> Contender:
    """Build ours, as in the paper: actnorms inside the coupling networks, learned priors at the splits.

    Args:
        work: the sizes.
        device: the device to run on.
        execution: fields of `glow_pipeline.flow.fast.execution.Execution`, other than the pipeline's defaults.
    """
    from glow_pipeline.flow import Glow
    from glow_pipeline.flow.fast.execution import Execution
    from glow_pipeline.training import adamax
    from glow_pipeline.training.acceleration import accelerated
    from glow_pipeline.training.step import TrainingStep

    use_device(device.type)  # as the pipeline does
    flow = Glow((CHANNELS, SIDE, SIDE), work.K, work.L, work.hidden_channels).to(device)
    flow = flow.to(memory_format=torch.channels_last)
    generator = torch.Generator(device).manual_seed(0)

    def inputs(images: Tensor) -> tuple[Tensor, Tensor]:
        return flow.dequantization.dequantize(images, generator)

    flow.initialize(inputs(sample_images(64, device))[0])
    flow.execution = Execution(**{"precision": resolve_precision("auto", device), **execution})
    plain_step = TrainingStep(flow, adamax.Adamax(flow.parameters(), lr=LR), 0.0, 10)
    step = accelerated(plain_step, "auto", lambda: inputs(sample_images(work.batch_size, device)))

    unchanging, is_prepared = ExitStack(), False

    def log_prob(images: Tensor) -> Tensor:
        return flow.log_prob(images, torch.rand(images.shape, device=device))

    def train(images: Tensor) -> None:
        nonlocal is_prepared
        unchanging.close()
        is_prepared = False
        step(*inputs(images))

    def prepare() -> None:
        """Fold the weights once for all batches until they change, as the pipeline does."""
        nonlocal is_prepared
        if not is_prepared:
            unchanging.enter_context(flow.unchanging())
            is_prepared = True

    def score(images: Tensor) -> Tensor:
        prepare()
        return log_prob(images)

    def sample(n: int) -> object:
        prepare()
        return flow.decode(flow.draw_latents(n, generator), 0.7)

    note = f"trains in {flow.execution.precision}" if device.type == "cuda" else ""
    return Contender(flow, train, loss_of(log_prob), score, sample, note)


def normflows(work: Work, device: torch.device) -> Contender:
    """Build the normflows package's Glow as in its example."""
    import normflows as nf

    bases, flows, merges = [], [], []
    for i in range(work.L):
        channels = CHANNELS * 2 ** (work.L + 1 - i)
        width = work.hidden_channels
        steps = [nf.flows.GlowBlock(channels, width, split_mode="channel", scale=True) for _ in range(work.K)]
        flows.append([*steps, nf.flows.Squeeze()])
        side = SIDE // 2 ** (work.L - i)
        if i > 0:
            merges.append(nf.flows.Merge())
            bases.append(nf.distributions.DiagGaussian((channels // 2, side, side)))
        else:
            bases.append(nf.distributions.DiagGaussian((channels, side, side)))
    model = nf.MultiscaleFlow(bases, flows, merges).to(device)

    def log_prob(images: Tensor) -> Tensor:
        return model.log_prob(dequantized(images), None)

    note = "LU-factored 1x1 convolutions, no actnorms inside the networks, no learned priors at the splits"
    loss = loss_of(log_prob)
    return Contender(model, step_of(model, loss), loss, log_prob, model.sample, note)


def freia(work: Work, device: torch.device) -> Contender:
    """Build a flow of the FrEIA package's AllInOneBlock."""
    import FrEIA.framework as ff
    import FrEIA.modules as fm

    def network(channels_in: int, channels_out: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels_in, work.hidden_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(work.hidden_channels, work.hidden_channels, 1),
            nn.ReLU(),
            nn.Conv2d(work.hidden_channels, channels_out, 3, padding=1),
        )

    nodes = [ff.InputNode(CHANNELS, SIDE, SIDE)]
    for level in range(work.L):
        nodes.append(ff.Node(nodes[-1], fm.IRevNetDownsampling, {}))
        for _ in range(work.K):
            arguments = {"subnet_constructor": network, "permute_soft": True}
            nodes.append(ff.Node(nodes[-1], fm.AllInOneBlock, arguments))
        if level < work.L - 1:
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

    note = "fixed rotations for 1x1 convolutions, no actnorms inside the networks, no learned priors at the splits"
    loss = loss_of(log_prob)
    return Contender(model, step_of(model, loss), loss, log_prob, sample, note)


class HarnessPeer(Protocol):
    """A peer of an external harness; its model is on the CPU and has three levels."""

    m: nn.Module

    def loss(self, u8: Tensor) -> Tensor: ...
    def score(self, u8: Tensor) -> Tensor: ...
    def sample(self, n: int) -> object: ...


def from_harness(path: Path, name: str, work: Work, device: torch.device) -> Contender:
    """Build a peer of an external harness: a Python file whose ALL has classes called with K and hidden channels.

    The file finds the peers' checkouts in the folder named by the environment variable PEERS.
    """
    spec = importlib.util.spec_from_file_location("harness", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    harness = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(harness)
    peer: HarnessPeer = harness.ALL[name](work.K, work.hidden_channels)
    model = peer.m.to(device)

    def sample(n: int) -> object:
        # Some draw their latents on the CPU when their model is on a GPU; torch then raises a RuntimeError.
        try:
            return peer.sample(n)
        except RuntimeError as error:
            raise CannotError(str(error).partition("\n")[0]) from error

    note = f"as {path.name} builds it"
    return Contender(model, step_of(model, peer.loss), peer.loss, peer.score, sample, note)


def builds_of_harness(path: Path, names: list[str]) -> dict[str, Build]:
    """Return the builders of these peers, by name.

    Raises:
        ValueError: the file does not exist, or the environment variable PEERS is not set.
    """
    if not path.is_file():
        raise ValueError(f"there is no harness {path}")
    if "PEERS" not in os.environ:
        raise ValueError("set PEERS to the folder with the peers' checkouts")
    return {name: partial(from_harness, path, name) for name in names}


# One row of the table each.
BUILD: dict[str, Build] = {
    "glow_pipeline": glow_pipeline,
    "glow_pipeline, reversible": partial(glow_pipeline, activations="reversible"),
    "glow_pipeline, bfloat16": partial(glow_pipeline, precision="bfloat16"),
    "normflows": normflows,
    "FrEIA": freia,
}
OURS, MEASURE = "glow_pipeline", "normflows"  # the row with images/s; the baseline of the ratios


def builds_for(device: torch.device) -> dict[str, Build]:
    """Return the rows for a device: on a GPU those of each precision too, because the defaults differ there."""
    if device.type != "cuda":
        return dict(BUILD)
    return {
        **BUILD,
        "glow_pipeline, tf32": partial(glow_pipeline, precision="tf32"),
        "glow_pipeline, float32": partial(glow_pipeline, precision="float32"),
        "normflows, autocast": partial(autocast, normflows),
        "FrEIA, autocast": partial(autocast, freia),
    }


def autocast(build: Build, work: Work, device: torch.device) -> Contender:
    """Build a contender that computes with torch's autocast to bfloat16."""
    contender = build(work, device)

    def casting(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return torch.autocast(device.type, torch.bfloat16)(function)

    return contender._replace(
        train=casting(contender.train),
        loss=casting(contender.loss),
        score=casting(contender.score),
        sample=casting(contender.sample),
        note=f"{contender.note}, autocast to bfloat16",
    )


def step_of(model: nn.Module, loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], None]:
    """Return a function that makes a step of torch's Adamax."""
    optimizer = Adamax(model.parameters(), lr=LR)

    def step(images: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(images).backward()
        optimizer.step()

    return step


def loss_of(log_prob: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the loss: images -> mean negative log-likelihood in nats per dimension."""
    return lambda images: -log_prob(images).mean() / images[0].numel()


def dequantized(images: Tensor) -> Tensor:
    """Dequantize as ours does, for libraries that leave it to their user."""
    return (images + torch.rand(images.shape, device=images.device)) / 256 - 0.5


def sample_images(n: int, device: torch.device) -> Tensor:
    """Return smooth random images, uint8 (n, 3, 32, 32)."""
    coarse = torch.rand(n, CHANNELS, 6, 6)
    smooth = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1) * 235
    return (smooth + torch.rand(n, CHANNELS, SIDE, SIDE) * 20).to(torch.uint8).to(device)
