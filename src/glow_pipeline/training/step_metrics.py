"""The metrics of an epoch's steps, which the host copies from the device rarely."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from glow_pipeline.training.history import History

READ_EVERY = 0.5  # seconds


class StepMetrics:
    """Collects metrics of steps on the device, and copies them to a history, for which the host waits.

    Args:
        history: history of the training.
        max_skipped_steps: so many skipped steps in a row are a divergence.
        steps_per_epoch: steps of one epoch.
        device: device of the steps.
        read_every: seconds between two copies at least; None: READ_EVERY, on a CPU 0.
        clock: returns seconds.
    """

    def __init__(
        self,
        history: History,
        max_skipped_steps: int,
        steps_per_epoch: int,
        device: torch.device,
        *,
        read_every: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._history, self._max_skipped_steps, self._clock = history, max_skipped_steps, clock
        self._values = torch.empty(steps_per_epoch, 2, device=device)
        self._read_every = (0.0 if device.type == "cpu" else READ_EVERY) if read_every is None else read_every
        self._skipped_in_a_row = 0
        self.start_epoch()

    def start_epoch(self) -> None:
        self._n_added = self._n_read = self._n_restored = 0
        self._bits: list[float] = []
        self._norms: list[float] = []
        self.start_clock()

    def start_clock(self) -> None:
        """Measure speed from now on, without the time before the first step."""
        self._started = self._last_read = self._clock()

    @property
    def values(self) -> Tensor:
        """Return this epoch's values that have been read: bits per dimension and gradient norm of each step (n, 2)."""
        return self._values[: self._n_read]

    def restore(self, values: Tensor, skipped_in_a_row: int) -> None:
        """Resume within an epoch whose steps so far had these values (n, 2) and are in the history."""
        self.start_epoch()
        self._values[: len(values)] = values
        self._n_added = self._n_read = len(values)
        updated = [(bits, norm) for bits, norm in values.tolist() if math.isfinite(bits)]
        self._bits, self._norms = [bits for bits, _ in updated], [norm for _, norm in updated]
        self._n_restored = len(updated)
        self._skipped_in_a_row = skipped_in_a_row

    def add(self, bits_per_dim: Tensor, gradient_norm: Tensor | float = math.nan) -> None:
        """Add a step's metrics: two scalars on the device; bits per dimension are NaN if the step was skipped."""
        self._values[self._n_added, 0] = bits_per_dim
        self._values[self._n_added, 1] = gradient_norm
        self._n_added += 1

    def read(self, *, force: bool = False) -> int:
        """Copy the unread steps to the history and return their number; 0 if the last copy was a moment ago.

        The last step of an epoch is always read.

        Args:
            force: read in any case.
        """
        now = self._clock()
        too_early = now - self._last_read < self._read_every and self._n_added < len(self._values)
        if too_early and not force:
            return 0
        values = self._values[self._n_read : self._n_added].tolist()
        self._n_read, self._last_read = self._n_added, now
        for read, (bits_per_dim, gradient_norm) in enumerate(values, start=1):
            self._history.steps += 1
            if math.isfinite(bits_per_dim):
                self._bits.append(bits_per_dim)
                self._norms.append(gradient_norm)
                self._skipped_in_a_row = 0
            else:
                self._history.skipped_steps += 1
                self._skipped_in_a_row += 1
            if self._skipped_in_a_row >= self._max_skipped_steps:
                self._history.diverged = True
                return read
        return len(values)

    @property
    def mean_bits_per_dim(self) -> float:
        """Return the mean over the epoch's steps that were not skipped; NaN if there is none."""
        return math.fsum(self._bits) / len(self._bits) if self._bits else math.nan

    @property
    def gradient_norms(self) -> tuple[float, float]:
        """Return mean and maximum over the same steps; NaN if there is none."""
        return (math.fsum(self._norms) / len(self._norms), max(self._norms)) if self._norms else (math.nan, math.nan)

    @property
    def steps_per_second(self) -> float:
        """Return the speed of the epoch's steps in this process that were not skipped."""
        return (len(self._bits) - self._n_restored) / (self._clock() - self._started)
