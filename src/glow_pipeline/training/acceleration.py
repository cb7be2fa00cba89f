"""Compilation and CUDA graphs for a training step, where this machine can have them."""

import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from glow_pipeline.device import Compile
from glow_pipeline.training.step import TrainingStep

logger = logging.getLogger(__name__)

WARM_UP = 3  # runs before a capture, in which libraries choose their algorithms and take their memory


def accelerated(
    step: TrainingStep, compile_: Compile, example: Callable[[], tuple[Tensor, ...]]
) -> Callable[..., Tensor]:
    """The step, compiled and on a GPU captured as one CUDA graph; what cannot be had is left out with one warning.

    A step of several processes is not captured: what they tell each other is not certain to come out of a graph again.

    `auto` leaves a CPU as it is: there compilation takes a minute and gains a few percent (docs/results/speed.md).

    Args:
        example: gives inputs of the step; all later ones must have their shapes.
    """
    device = step.optimizer.vector.device
    wanted = device.type == "cuda" if compile_ == "auto" else compile_
    if not wanted or step.model.execution is None:
        return step
    inputs, as_it_was = example(), step.model.execution
    step.model.execution = replace(as_it_was, compiled=True)
    torch._dynamo.reset()  # it counts what it has made in all a process's trainings, and stops at a limit
    try:
        step.rehearse(*inputs)
    except torch._dynamo.exc.TorchDynamoException as failed:
        step.model.execution = as_it_was
        logger.warning("train.compile=%s: not compiled, training goes on without: %s", compile_, _first_line(failed))
    if device.type != "cuda" or step.group.share.of > 1:
        return step
    try:
        return Captured(step, *inputs)
    except RuntimeError as failed:
        logger.warning("train.compile=%s: no CUDA graph, training goes on without: %s", compile_, _first_line(failed))
        return step


class Captured:
    """A training step as one CUDA graph, which the host launches at once instead of kernel by kernel.

    Args:
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
            self._told = step(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for place, given in zip(self._inputs, inputs, strict=True):
            place.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._told


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
