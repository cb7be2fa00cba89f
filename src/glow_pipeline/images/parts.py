"""The parts of a training table: images to fit, to validate on and to calibrate with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.content_sets import are_among, count_distinct
from glow_pipeline.images.rows import CHUNK, random_order, rows_where
from glow_pipeline.images.split_by_content import draw_by_content
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import generator

PartOf = NDArray[np.uint8]  # the part of each image
FIT, VALIDATION, CALIBRATION = range(3)


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
        part = np.full(n, FIT, dtype=np.uint8)
        part[n - n_own :] = _divided_own(n_own, val_percentage, calibration_percentage, seed)
    elif table.record.image_selection.is_folder:
        part = _drawn_by_content(table, val_percentage, calibration_percentage, seed)
    else:
        part = _drawn_at_random(n, val_percentage, calibration_percentage, seed)
    fit, validation, calibration = (table.subset(rows_where(part, each)) for each in (FIT, VALIDATION, CALIBRATION))
    return Parts(fit, validation, CalibrationImages(calibration))


def _divided_own(n: int, val_percentage: float, calibration_percentage: float, seed: int) -> PartOf:
    """Divide the n images of a source's own validation split."""
    part = np.full(n, VALIDATION, dtype=np.uint8)
    if calibration_percentage:
        n_val = max(1, round(n * val_percentage / (val_percentage + calibration_percentage)))
        _assign(part, random_order(n, generator(seed, "calibration"))[n_val:], CALIBRATION)
    return part


def _drawn_by_content(table: ImageTable, val_percentage: float, calibration_percentage: float, seed: int) -> PartOf:
    """Hold out the images whose value is below the percentages: of validation, and of both."""
    validates = draw_by_content(table.stored_hashes, val_percentage, seed, "validation")
    if validates.all() or not validates.any():
        raise GlowPipelineError(
            f"{table.record.name}: its {len(table)} images are copies of one, to train on and to validate with; "
            f"give it two different ones at least"
        )
    part = np.full(len(table), FIT, dtype=np.uint8)
    held_out = draw_by_content(table.stored_hashes, val_percentage + calibration_percentage, seed, "validation")
    part[held_out] = CALIBRATION
    part[validates] = VALIDATION
    return part


def _drawn_at_random(n: int, val_percentage: float, calibration_percentage: float, seed: int) -> PartOf:
    n_val = min(max(1, round(n * val_percentage / 100)), n - 1)
    n_calibration = min(round(n * calibration_percentage / 100), n - n_val - 1)
    # Copied, so that the order of all images is not in memory any more when the parts are.
    held_out = random_order(n, generator(seed, "validation"))[: n_val + n_calibration].copy()
    part = np.full(n, FIT, dtype=np.uint8)
    _assign(part, held_out[:n_val], VALIDATION)
    _assign(part, held_out[n_val:], CALIBRATION)
    return part


def _assign(part: PartOf, rows: NDArray[np.int32] | NDArray[np.int64], value: int) -> None:
    """Do `part[rows] = value` in pieces: numpy copies the rows that it is given as int64."""
    for start in range(0, len(rows), CHUNK):
        part[rows[start : start + CHUNK]] = value


class ExactCopies(BaseModel):
    """Numbers of images that are exact copies of another, after preparation."""

    model_config = ConfigDict(frozen=True)

    train_copies: int  # among images to fit and to validate on: of another of them, the first of each not counted
    val_copies_of_fit: int
    calibration_copies_of_train: int  # of images to fit or to validate on
    test_copies_of_train: int  # of any image of the training table


def count_copies(parts: Parts, test: ImageTable) -> ExactCopies:
    """Count the exact copies within and across the parts of a data set; reads no pixel."""
    fit, validation, calibration, tested = (
        table.stored_hashes for table in (parts.fit, parts.validation, parts.calibration.table, test)
    )
    return ExactCopies(
        train_copies=len(fit) + len(validation) - count_distinct([fit, validation]),
        val_copies_of_fit=int(are_among(validation, [fit]).sum()),
        calibration_copies_of_train=int(are_among(calibration, [fit, validation]).sum()),
        test_copies_of_train=int(are_among(tested, [fit, validation, calibration]).sum()),
    )
