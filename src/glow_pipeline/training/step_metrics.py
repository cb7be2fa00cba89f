"""The metrics of an epoch's steps, which the host copies from the device rarely and without waiting for it."""

import math
import time
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from glow_pipeline.images.transfer import HostCopy
from glow_pipeline.training.history import History

READ_EVERY = 0.5  # seconds


class StepMetrics:
    """Collects metrics of steps on the device, and copies them to a history.

    Args:
        history: history of the training.
        max_skipped_steps: so many skipped steps in a row are a divergence.
        steps_per_epoch: steps of one epoch.
        device: device of the steps.
        read_every: seconds from one copy to the next at most; None: READ_EVERY, on a CPU 0.
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
        self._n_added = self._n_queued = self._n_read = self._n_restored = 0
        self._copies: deque[HostCopy] = deque()  # of steps that are not in the history yet
        self._bits: list[float] = []
        self._norms: list[float] = []
        self.start_clock()

    def start_clock(self) -> None:
        """Measure speed from now on, without the time before the first step."""
        self._started = self._last_queued = self._last_read = self._clock()

    @property
    def values(self) -> Tensor:
        """Return this epoch's values that have been read: bits per dimension and gradient norm of each step (n, 2)."""
        return self._values[: self._n_read]

    def restore(self, values: Tensor, skipped_in_a_row: int) -> None:
        """Resume within an epoch whose steps so far had these values (n, 2) and are in the history."""
        self.start_epoch()
        self._values[: len(values)] = values
        self._n_added = self._n_queued = self._n_read = len(values)
        updated = [(bits, norm) for bits, norm in values.tolist() if math.isfinite(bits)]
        self._bits, self._norms = [bits for bits, _ in updated], [norm for _, norm in updated]
        self._n_restored = len(updated)
        self._skipped_in_a_row = skipped_in_a_row

    def add(self, bits_per_dim: Tensor, gradient_norm: Tensor | float = math.nan) -> None:
        """Add a step's metrics: two scalars on the device; bits per dimension are NaN if the step was skipped."""
        self._values[self._n_added, 0] = bits_per_dim
        self._values[self._n_added, 1] = gradient_norm
        self._n_added += 1

    def queue_reading(self) -> None:
        """Queue a copy of the steps so far; it does not wait for work that is queued on the device after this call."""
        self._last_queued = self._clock()
        if self._n_queued < self._n_added:
            self._copies.append(HostCopy(self._values[self._n_queued : self._n_added]))
            self._n_queued = self._n_added

    def read(self, *, force: bool = False) -> int:
        """Take the copies that are complete into the history and return the number of their steps.

        New steps are copied from time to time. The host waits where it is ahead of the device by more steps than take
        `read_every` seconds: a batch that was copied to a GPU takes memory until its step is done.

        Args:
            force: copy and take all steps so far; the host waits for them.
        """
        if self._history.diverged:  # no later step counts
            return 0
        ahead = max(2, int(self._read_every * self.steps_per_second))
        is_late = self._clock() - self._last_queued >= self._read_every
        if force or is_late or self._n_added - self._n_queued >= ahead // 2:
            self.queue_reading()
        n_read = 0
        while self._copies and (force or self._copies[0].complete or self._n_added - self._n_read > ahead):
            n_read += self._take(*self._copies.popleft().get())
        return n_read

    def _take(self, values: Tensor) -> int:
        """Take values (n, 2) into the history; return their number, or that up to a divergence, which is the end."""
        self._n_read, self._last_read = self._n_read + len(values), self._clock()
        for read, (bits_per_dim, gradient_norm) in enumerate(values.tolist(), start=1):
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
                self._copies.clear()
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
        """Return the speed of the epoch's steps in this process that were read and not skipped."""
        seconds = self._last_read - self._started
        return (len(self._bits) - self._n_restored) / seconds if seconds > 0 else 0.0
