"""Compilation and CUDA graphs for a training step, where this machine supports them."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from glow_pipeline.device import Compile
from glow_pipeline.errors import first_line
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.training.captured_step import Captured
from glow_pipeline.training.step import TrainingStep

logger = logging.getLogger(__name__)


def accelerated(
    step: TrainingStep, compile_: Compile, example: Callable[[], tuple[Tensor, ...]]
) -> Callable[..., Tensor]:
    """Return the step compiled, and on a GPU captured as CUDA graphs; whatever fails is left out with a warning.

    Processes that train together agree: whatever fails in one is left out in all.

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
    inputs = example()
    _compile(step, compile_, inputs)
    return _captured(step, compile_, inputs) if device.type == "cuda" else step


def _compile(step: TrainingStep, compile_: Compile, inputs: tuple[Tensor, ...]) -> None:
    """Have the model computed by compiled code, if no process fails to compile it."""
    uncompiled = cast(Execution, step.model.execution)
    on_a_gpu = step.optimizer.vector.device.type == "cuda"
    step.model.execution = replace(uncompiled, compiled=True, products=on_a_gpu)
    step.optimizer.compiled = on_a_gpu  # a CPU takes as long for fewer and larger operations
    torch._dynamo.reset()  # it counts its results over all trainings of a process, and stops at a limit
    # First the leader, whose kernels the others then find in torch's cache.
    for compiles_now in (step.group.leads, not step.group.leads):
        error = None
        if compiles_now:
            try:
                with _compiling(step):
                    step.rehearse(*inputs)
            except torch._dynamo.exc.TorchDynamoException as failed:
                error = first_line(failed)
        if step.group.any(error is not None):
            step.model.execution, step.optimizer.compiled = uncompiled, False
            _warn(compile_, "not compiled", error)
            return


def _captured(step: TrainingStep, compile_: Compile, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    """Return the step captured, or the step itself if a process fails to capture it."""
    captured, error = None, None
    try:
        captured = Captured(step, *inputs)
    except RuntimeError as failed:
        error = first_line(failed)  # the error itself holds tensors of the capture
    failed_anywhere = step.group.any(captured is None)
    if captured is not None and not failed_anywhere:
        return captured
    _warn(compile_, "no CUDA graph", error)
    del captured
    step.optimizer.zero_grad()  # gradients are in the memory of the failed capture
    torch.cuda.empty_cache()
    return step


def _warn(compile_: Compile, missing: str, error: str | None) -> None:
    reason = error or "another process failed"
    logger.warning("train.compile=%s: %s, training continues without: %s", compile_, missing, reason)


@contextmanager
def _compiling(step: TrainingStep) -> Iterator[None]:
    """Let torch compile whatever the step needs within the block, without its advice to use TF32.

    By default it compiles a function 8 times at most. Here it does so for each level, for unequal parts of a batch and
    for groups of steps.
    """
    limit = max(torch._dynamo.config.recompile_limit, 4 * len(step.model.levels))
    with warnings.catch_warnings(), torch._dynamo.config.patch(recompile_limit=limit):
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
        yield
