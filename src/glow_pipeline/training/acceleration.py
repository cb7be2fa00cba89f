"""Compilation and CUDA graphs for a training step, where this machine supports them."""

import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from glow_pipeline.device import Compile
from glow_pipeline.errors import first_line
from glow_pipeline.training.step import TrainingStep

logger = logging.getLogger(__name__)

WARM_UP = 3  # runs before a capture, in which libraries choose their algorithms and take their memory


def accelerated(
    step: TrainingStep, compile_: Compile, example: Callable[[], tuple[Tensor, ...]]
) -> Callable[..., Tensor]:
    """Return the step compiled, and on a GPU captured as one CUDA graph; whatever fails is left out with a warning.

    A step of several processes is not captured: their communication is not certain to work in a graph.

    `auto` leaves a CPU as it is: there compilation takes a minute and gains a few percent (docs/results/speed.md).

    Args:
        step: the training step.
        compile_: `train.compile`.
        example: gives inputs of the step; all later ones must have their shapes.
    """
    device = step.optimizer.vector.device
    wanted = device.type == "cuda" if compile_ == "auto" else compile_
    if not wanted or step.model.execution is None:
        return step
    inputs, uncompiled = example(), step.model.execution
    step.model.execution = replace(uncompiled, compiled=True)
    torch._dynamo.reset()  # it counts its results over all trainings of a process, and stops at a limit
    try:
        step.rehearse(*inputs)
    except torch._dynamo.exc.TorchDynamoException as failed:
        step.model.execution = uncompiled
        logger.warning("train.compile=%s: not compiled, training continues without: %s", compile_, first_line(failed))
    if device.type != "cuda" or step.group.shard.world_size > 1:
        return step
    try:
        return Captured(step, *inputs)
    except RuntimeError as failed:
        logger.warning("train.compile=%s: no CUDA graph, training continues without: %s", compile_, first_line(failed))
        return step


class Captured:
    """A training step as one CUDA graph, which the host launches at once instead of kernel by kernel.

    Args:
        step: the training step.
        example: inputs of the step; all later ones must have these shapes.
    """

    def __init__(self, step: TrainingStep, *example: Tensor) -> None:
        self._inputs = [tensor.clone() for tensor in example]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step.rehearse(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._bits_per_dim = step(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for place, given in zip(self._inputs, inputs, strict=True):
            place.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._bits_per_dim
