"""What happened in a training."""

import math
import time
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

READ_EVERY = 0.5  # seconds
GIVEN_CLASS = "_given_class"
Figure = TypeVar("Figure", float, float | None)


@dataclass
class History:
    """What happened.

    Attributes:
        epochs: a row of metrics for each finished epoch.
        best_epoch: the epoch with the lowest bits/dim on validation images; 0 before the first.
        steps: optimiser steps, the skipped ones included.
        skipped_steps: steps whose loss or gradient was not finite and that changed nothing.
        diverged: whether too many of those in a row ended the training.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_val_bits_per_dim: float = math.inf
    steps: int = 0
    skipped_steps: int = 0
    diverged: bool = False

    def epochs_since_best(self) -> int:
        return len(self.epochs) - self.best_epoch


def reported(row: dict[str, Figure], given_class: bool) -> dict[str, Figure]:
    """Return an epoch's metrics under the names that they are reported by.

    A class-conditioned model is trained and validated on log p(image | class): its bits per dimension are called
    `..._given_class`, as those of test images are, since they must not be compared with the ones of log p(image).
    """
    if not given_class:
        return row
    return {f"{name}{GIVEN_CLASS}" if name.endswith("bits_per_dim") else name: value for name, value in row.items()}


class Tally:
    """Writes into a history what the steps tell, in few readings: at each the host waits for the device.

    Args:
        max_skipped_steps: how many skipped steps in a row are a divergence.
        steps_per_epoch: of the training.
    """

    def __init__(self, history: History, max_skipped_steps: int, steps_per_epoch: int, device: torch.device) -> None:
        self._history, self._max_skipped_steps = history, max_skipped_steps
        self._told = torch.empty(steps_per_epoch, 2, device=device)
        self._read_every = 0.0 if device.type == "cpu" else READ_EVERY
        self._skipped_in_a_row = 0
        self.start_epoch()

    def start_epoch(self) -> None:
        self._n_told = self._n_read = self._n_restored = 0
        self._bits: list[float] = []
        self._norms: list[float] = []
        self._started = self._last_read = time.perf_counter()

    def start_clock(self) -> None:
        """Measure speed from now on: what came before the first step is no part of it."""
        self._started = self._last_read = time.perf_counter()

    @property
    def told(self) -> Tensor:
        """What this epoch's steps told that were read: bits per dimension and gradient norm of each (n, 2)."""
        return self._told[: self._n_read]

    def restore(self, told: Tensor, skipped_in_a_row: int) -> None:
        """Go on within an epoch, whose steps so far told this and are in the history."""
        self.start_epoch()
        self._told[: len(told)] = told
        self._n_told = self._n_read = len(told)
        updated = [(bits, norm) for bits, norm in told.tolist() if math.isfinite(bits)]
        self._bits, self._norms = [bits for bits, _ in updated], [norm for _, norm in updated]
        self._n_restored = len(updated)
        self._skipped_in_a_row = skipped_in_a_row

    def add(self, bits_per_dim: Tensor, gradient_norm: Tensor | float = math.nan) -> None:
        """Take what a step told: two scalars on the device; bits per dimension are NaN if the step was skipped."""
        self._told[self._n_told, 0] = bits_per_dim
        self._told[self._n_told, 1] = gradient_norm
        self._n_told += 1

    def read(self, *, now_at_once: bool = False) -> int:
        """Read what was not read before, and return of how many steps; of none a moment after the last reading."""
        now = time.perf_counter()
        waits = now - self._last_read < self._read_every and self._n_told < len(self._told)
        if waits and not now_at_once:
            return 0
        values = self._told[self._n_read : self._n_told].tolist()
        self._n_read, self._last_read = self._n_told, now
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
        """Of the epoch's steps that were not skipped; NaN if there is none."""
        return math.fsum(self._bits) / len(self._bits) if self._bits else math.nan

    @property
    def gradient_norms(self) -> tuple[float, float]:
        """Mean and largest of the same steps; NaN if there is none."""
        return (math.fsum(self._norms) / len(self._norms), max(self._norms)) if self._norms else (math.nan, math.nan)

    @property
    def steps_per_second(self) -> float:
        """Of the epoch's steps in this process that were not skipped."""
        return (len(self._bits) - self._n_restored) / (time.perf_counter() - self._started)
