"""Forecast of a training's duration, as soon as some steps are done."""

import time
from collections.abc import Callable

ENOUGH_STEPS, ENOUGH_SECONDS = 20, 5.0  # after either
WORTH_SAYING = 60.0  # seconds; below that the progress bar says it
LONG_EPOCH = 600.0


class Forecast:
    """Says once how long a training takes.

    Args:
        done: steps taken by earlier commands.
        total: all steps of the training.
        epoch: steps of one epoch.
        clock: returns seconds.
    """

    def __init__(self, done: int, total: int, epoch: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._done, self._total, self._epoch, self._clock = done, total, epoch, clock
        self._started, self._said = clock(), False

    def line(self, step: int) -> str | None:
        """Return the line at the first of these steps that allows it, else None."""
        taken, seconds = step - self._done, self._clock() - self._started
        if self._said or taken == 0 or (taken < ENOUGH_STEPS and seconds < ENOUGH_SECONDS):
            return None
        self._said = True
        left, epoch = seconds / taken * (self._total - step), seconds / taken * self._epoch
        if left < WORTH_SAYING:
            return None
        line = f"Time:   about {duration(left)}, {duration(epoch)} an epoch."
        if epoch > LONG_EPOCH:
            line += (
                " For shorter epochs lower ingest.size, model.K or model.hidden_channels, or train on a GPU; "
                "train.n_epochs says how many, and train.epoch_images how long one is."
            )
        return line


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"
