"""A trial of a level's kernels: on some machines nothing can be compiled, and on some GPUs a kernel finds no room."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from glow_pipeline.flow.fast import fused
from glow_pipeline.flow.fast.execution import Execution, Precision, float32_convolutions
from glow_pipeline.flow.fast.folding.factors import Weights, factors_of
from glow_pipeline.flow.fast.folding.folded import Folded
from glow_pipeline.flow.fast.folding.prepared import Prepared
from glow_pipeline.flow.fast.kernels import level, training
from glow_pipeline.flow.fast.kernels.kinds import Kernel
from glow_pipeline.flow.fast.kernels.tile import MOST_PROGRAMS, Tile, multiprocessors
from glow_pipeline.flow.fast.products import level as products
from glow_pipeline.flow.transform import Transform

STEPS = 2
BIAS = 3.0  # of hidden units, or its negative: a ReLU's input near 0 may be on either side of it, by its rounding


@torch.no_grad()
@float32_convolutions()
def trial(
    kernel: Kernel,
    device: torch.device,
    shape: tuple[int, int, int],
    transform: Transform,
    hidden: int,
    precision: Precision,
    *,
    crowded: bool,
) -> float:
    """Compute images by a kernel and by `fused` or `products`; return their largest relative difference.

    The kernel computes them twice, the second time in memory full of NaN, to the same bits.

    Args:
        kernel: the one to try.
        device: of the images, with a GPU.
        shape: (C, H, W) of the level.
        transform: of its couplings.
        hidden: channels of their networks.
        precision: of the networks in a training step.
        crowded: with more programs than the GPU has multiprocessors, and passes that loop over tiles.

    Raises:
        FAILURES: one of `kernel_failures`; a RuntimeError also if the kernel has other bits the second time.
    """
    generator = torch.Generator(device).manual_seed(0)

    def random(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, device=device)

    c, h, w = shape
    c1 = c // 2
    out = transform.outputs_per_channel * (c - c1)
    x = random(_image_count(kernel, h * w, device, crowded), *shape).contiguous(memory_format=torch.channels_last)
    folded = Folded(
        torch.eye(c, device=device) + 0.3 * random(STEPS, c, c) / c**0.5,
        random(STEPS, c),
        random(STEPS, hidden, c1, 3, 3) / (9 * c1) ** 0.5,
        BIAS * random(STEPS, hidden).sign(),
        random(STEPS, hidden, hidden, 1, 1) / (4 * hidden) ** 0.5,
        BIAS * random(STEPS, hidden).sign(),
        random(STEPS, out, hidden, 3, 3) / (36 * hidden) ** 0.5,
        random(STEPS, out),
    )
    if kernel == "training":
        return _difference_of_training(x, folded, transform, Execution(precision=precision))
    prepared = Prepared(folded, torch.zeros((), device=device), transform)
    with Execution().product_precision():
        y, logdet = fused.run(prepared, x, Execution())
    if kernel == "inverse":
        return _difference(_computed_twice(lambda: (level.inverse(prepared, y),)), (x,))
    return _difference(_computed_twice(lambda: level.run(prepared, x)), (y, logdet))


def _image_count(kernel: Kernel, pixels: int, device: torch.device, crowded: bool) -> int:
    """Return for how many images of so many pixels the last of several tiles is not full."""
    tiles = 2
    if crowded:  # a step keeps much of each image
        tiles = multiprocessors(device) if kernel == "training" else MOST_PROGRAMS
    return tiles * Tile.of(pixels).images + 1


@torch.enable_grad()
def _difference_of_training(x: Tensor, folded: Folded, transform: Transform, execution: Execution) -> float:
    low = execution.network_dtype or x.dtype
    weights = factors_of(Folded(folded.matrix, folded.bias, *(tensor.to(low) for tensor in folded[2:])))
    inputs = [tensor.detach().contiguous().requires_grad_() for tensor in (x, *weights)]
    c1, out = folded.weight1.shape[2], folded.weight3.shape[1]

    def results(form: type[torch.autograd.Function]) -> tuple[Tensor, ...]:
        y, logdet = form.apply(inputs[0], execution, transform, *inputs[1:])
        grad_x, *gradients = torch.autograd.grad(y.square().sum() + logdet.sum(), inputs)
        of_weights = Weights(*gradients)
        used = of_weights._replace(  # the other numbers pad a weight, and what their gradients are does not matter
            weight1=of_weights.weight1[..., : 9 * c1],
            weight3=of_weights.weight3[:, : 9 * out],
            bias3=of_weights.bias3[:, :out],
        )
        return y.detach(), logdet.detach(), grad_x, *used

    return _difference(_computed_twice(lambda: results(training.Steps)), results(products.Steps))


def _computed_twice(compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Compute, and again in memory full of NaN, which a number that is read but not written would then be."""
    first = compute()
    with _memory_full_of_nan():
        second = compute()
    if not all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise RuntimeError("results have other bits the second time")
    return second


@contextmanager
def _memory_full_of_nan() -> Iterator[None]:
    """Have torch fill new tensors within the block: it does so where it may use deterministic algorithms only."""
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def _difference(results: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """Return the largest difference relative to the largest number of its tensor; NaN if there is one."""
    differences = [
        (a - b).abs().max() / b.abs().max().clamp_min(1)  # a logdet may be 0
        for a, b in zip(results, expected, strict=True)
    ]
    return torch.stack([difference.float() for difference in differences]).max().item()
