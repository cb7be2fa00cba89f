"""The progress of a training on standard error: a bar, and once a forecast of its duration."""

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import NoReturn, Self

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from glow_pipeline.training.forecast import Forecast
from glow_pipeline.training.step_metrics import StepMetrics


class Progress:
    """The progress bar of a training. A context manager, within which log lines are printed above the bar.

    Args:
        steps_done: steps taken before this command.
        steps: all steps of the training.
        steps_per_epoch: steps of one epoch.
        batch_size: images a step.
        shown: whether anything is printed.
    """

    def __init__(self, steps_done: int, steps: int, steps_per_epoch: int, batch_size: int, *, shown: bool) -> None:
        self._steps_done, self._steps, self._steps_per_epoch = steps_done, steps, steps_per_epoch
        self._batch_size, self._shown = batch_size, shown

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._bar: tqdm[NoReturn] = stack.enter_context(
                tqdm(
                    total=self._steps,
                    initial=self._steps_done,
                    desc="train",
                    unit="step",
                    mininterval=0.5,
                    disable=not self._shown,
                )
            )
            stack.enter_context(logging_redirect_tqdm())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, step: int) -> None:
        """Measure speed from this step and moment on, without the time before the first step."""
        self._bar.unpause()
        self._forecast = Forecast(step, self._steps, self._steps_per_epoch)

    def update(self, new_steps: int, step: int, epoch: int, metrics: StepMetrics) -> None:
        """Show `new_steps` more steps, up to `step`."""
        speed = metrics.steps_per_second * self._batch_size
        self._bar.set_postfix_str(
            f"epoch {epoch}, {metrics.mean_bits_per_dim:.3f} bits/dim, {speed:.0f} images/s", refresh=False
        )
        self._bar.update(new_steps)
        if self._shown and (line := self._forecast.line(step)):
            self._bar.write(line, file=sys.stderr)
