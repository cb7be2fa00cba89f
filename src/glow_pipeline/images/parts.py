"""The parts of a training table: images to fit, to validate on and to calibrate with."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.split_by_content import draw_by_content
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import generator

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CalibrationImages:
    """Images to calibrate scores with. No `ImageTable`, so that mypy refuses them where images are fitted or validated.

    Attributes:
        table: the images themselves, to be scored alone; nothing may be fitted to them or chosen by them. May be empty.
    """

    table: ImageTable

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class Parts:
    """Disjoint parts of a training table, which together have all its images; each keeps the table's order.

    Attributes:
        fit: images that the flow is fitted to.
        validation: images that choose the epoch, and that scores are fitted to.
        calibration: images that choose nothing and that nothing is fitted to.
    """

    fit: ImageTable
    validation: ImageTable
    calibration: CalibrationImages


def split_parts(table: ImageTable, val_percentage: float, calibration_percentage: float, seed: int) -> Parts:
    """Split a training table. There is at least one image to fit and one to validate on; calibration may have none.

    - A source's own validation split, where it has one, is divided at random in the ratio of the percentages.
    - About the given percentages of a folder's images are drawn by their contents and the seed, so that an image stays
      in its part when others are added, and copies are in one part.
    - The given percentages of other tables are drawn at random.

    Args:
        table: training table.
        val_percentage, calibration_percentage: percentages of its images; their sum is below 100.
        seed: seed of the draws. The validation images do not depend on `calibration_percentage`, except those of a
            source's own validation split.

    Raises:
        GlowPipelineError: there are not two (different) images.
    """
    n, n_own = len(table), table.record.own_validation
    if n < 2:
        raise GlowPipelineError(
            f"{table.record.name}: {n} image to train on and to validate with; give it two at least"
        )
    if 0 < n_own < n:
        held_out = _divide_own(n, n_own, val_percentage, calibration_percentage, seed)
    elif table.record.image_selection.is_folder:
        held_out = _draw_by_content(table, val_percentage, calibration_percentage, seed)
    else:
        held_out = _draw_at_random(n, val_percentage, calibration_percentage, seed)
    validation, calibration = map(np.sort, held_out)
    fit = np.setdiff1d(np.arange(n), np.concatenate([validation, calibration]))
    return Parts(table.subset(fit), table.subset(validation), CalibrationImages(table.subset(calibration)))


def _divide_own(
    n: int, n_own: int, val_percentage: float, calibration_percentage: float, seed: int
) -> tuple[Rows, Rows]:
    """Return the rows of validation and of calibration; those of the own split are the table's last."""
    own = np.arange(n - n_own, n)
    if not calibration_percentage:
        return own, own[:0]
    n_val = max(1, round(n_own * val_percentage / (val_percentage + calibration_percentage)))
    order = torch.randperm(n_own, generator=generator(seed, "calibration")).numpy()
    return own[order[:n_val]], own[order[n_val:]]


def _draw_by_content(
    table: ImageTable, val_percentage: float, calibration_percentage: float, seed: int
) -> tuple[Rows, Rows]:
    """Return the rows of validation and of calibration: the images whose value is between the two percentages."""
    hashes = table.content_hashes
    validates = draw_by_content(hashes, val_percentage, seed, "validation")
    if validates.all() or not validates.any():
        raise GlowPipelineError(
            f"{table.record.name}: its {len(table)} images are copies of one, to train on and to validate with; "
            f"give it two different ones at least"
        )
    held_out = draw_by_content(hashes, val_percentage + calibration_percentage, seed, "validation")
    return np.flatnonzero(validates), np.flatnonzero(held_out & ~validates)


def _draw_at_random(n: int, val_percentage: float, calibration_percentage: float, seed: int) -> tuple[Rows, Rows]:
    n_val = min(max(1, round(n * val_percentage / 100)), n - 1)
    n_calibration = min(round(n * calibration_percentage / 100), n - n_val - 1)
    order = torch.randperm(n, generator=generator(seed, "validation")).numpy()
    return order[:n_val], order[n_val : n_val + n_calibration]


class ExactCopies(BaseModel):
    """Numbers of images that are exact copies of another, after preparation."""

    model_config = ConfigDict(frozen=True)

    train_copies: int  # among images to fit and to validate on: of another of them, the first of each not counted
    val_copies_of_fit: int
    calibration_copies_of_train: int  # of images to fit or to validate on
    test_copies_of_train: int  # of any image of the training table


def count_copies(parts: Parts, test: ImageTable) -> ExactCopies:
    """Count the exact copies within and across the parts of a data set; reads no pixel."""
    fit, validation = parts.fit.content_hashes, parts.validation.content_hashes
    calibration = parts.calibration.table.content_hashes
    trained_on = np.concatenate([fit, validation])
    return ExactCopies(
        train_copies=len(trained_on) - len(np.unique(trained_on)),
        val_copies_of_fit=int(np.isin(validation, fit).sum()),
        calibration_copies_of_train=int(np.isin(calibration, trained_on).sum()),
        test_copies_of_train=int(np.isin(test.content_hashes, np.concatenate([trained_on, calibration])).sum()),
    )
