"""The history of a training: a row of metrics for each epoch, and the best one."""

import math
from dataclasses import dataclass, field
from typing import TypeVar

GIVEN_CLASS = "_given_class"
Figure = TypeVar("Figure", float, float | None)
Metrics = dict[str, int | float]


@dataclass
class History:
    """The history of a training.

    Attributes:
        epochs: a row of metrics for each finished epoch.
        best_epoch: the epoch with the lowest bits/dim on validation images; 0 before the first.
        steps: optimizer steps, the skipped ones included.
        skipped_steps: steps that changed nothing because their loss or gradient was not finite.
        diverged: whether too many of those in a row ended the training.
    """

    epochs: list[Metrics] = field(default_factory=list)
    best_epoch: int = 0
    best_val_bits_per_dim: float = math.inf
    steps: int = 0
    skipped_steps: int = 0
    diverged: bool = False

    def epochs_since_best(self) -> int:
        return len(self.epochs) - self.best_epoch


def reported(row: dict[str, Figure], given_class: bool) -> dict[str, Figure]:
    """Return an epoch's metrics under the names by which they are reported.

    A class-conditioned model is trained and validated on log p(image | class): its bits per dimension are called
    `..._given_class`, as those of test images are, since they must not be compared with the ones of log p(image).
    """
    if not given_class:
        return row
    return {f"{name}{GIVEN_CLASS}" if name.endswith("bits_per_dim") else name: value for name, value in row.items()}
