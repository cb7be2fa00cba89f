"""Reasons: in which of an image's statistics it differs most from the calibration images, in a sentence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.outliers.statistics.codecs import compressed_bits_per_dim
from glow_pipeline.outliers.statistics.latents import level_log_prob
from glow_pipeline.outliers.statistics.pixels import brightness, colourfulness, contrast, smoothness
from glow_pipeline.outliers.statistics.quarters import QUARTERS, nll_of_quarters

MOST_STORED = 10_000  # values of a statistic; more would not change a percentage that is printed
TIE = 1e-3  # standard deviations; an image's statistics in batches of other sizes differ by less
RARE = 0.05  # share of the calibration images that may have an unusual statistic
HIGH = 0.1  # share of them that may score as high as an image whose score is named: outliers at 10% have a reason
SMALLEST = 1e-6  # less, relative to 1 or to the mean, is rounding
NAMED = 2
NOTHING = "nothing unusual"
OVERFLOW = "so unlike the training images that the model's numbers overflow"


class Statistic(NamedTuple):
    """The words for one statistic."""

    group: str  # of a group only one is named
    higher: str  # for an image whose value is above those of the calibration images
    lower: str
    where: str = ""  # the rest of the sentence
    is_size: bool = False  # a size: its ratio to the median is named too


# Of equally rare ones the first is named: what a person sees comes before what the model computes.
OF_IMAGE = (
    Statistic("brightness", "brighter", "darker"),
    Statistic("contrast", "richer in contrast", "poorer in contrast"),
    Statistic("colour", "more colourful", "less colourful"),
    Statistic("detail", "more detailed", "less detailed", is_size=True),
)
OF_SCALE = Statistic("smoothness", "smoother", "rougher")
OF_LEVEL = Statistic("model", "more probable to the model", "less probable to the model")
OF_QUARTER = Statistic("model", "less probable to the model", "more probable to the model")


@dataclass(frozen=True)
class Reasons:
    """Statistics of the calibration images, and sentences about images that differ from them.

    The statistics are brightness, contrast, colourfulness, compressed size, smoothness at each scale, and the
    likelihood of each level and of each quarter of the image. The sentence names the one in which the image is rarest,
    on either side, among the calibration images, and one of another group if that is unusual too: if at most 1 of 20
    calibration images has any statistic that is as rare. Beyond all calibration images a statistic is always unusual,
    and the one that is more standard deviations away is the rarer.

    Attributes:
        fitted: arrays by name, stored in the detector's file: `sorted` (m, d), the values of the calibration images in
            rising order, of more than 10,000 so many evenly spaced ranks; `mean` and `sd` (d,); `count` (1,), the
            number of the images, and `unusual` (1,), that of stored values as extreme as an unusual one at most.
    """

    fitted: Mapping[str, Numbers] = field(default_factory=dict)

    name: ClassVar[str] = "reasons"
    traces: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        """Return the statistics of a traced batch, float64 (B, 8 + 2 L), in the order of `statistics`."""
        columns = [
            *(batch.once_for_images(statistic) for statistic in (brightness, contrast, colourfulness)),
            batch.once(compressed_bits_per_dim),
            batch.once_for_images(smoothness),
            batch.once(level_log_prob),
            batch.once(nll_of_quarters),
        ]
        return torch.cat([column.view(len(batch.images), -1) for column in columns], dim=1)

    def calibrate(self, described: Numbers) -> Self:
        """Return the reasons with the statistics (n, d) of the calibration images, without rows that are not finite."""
        finite = described[np.isfinite(described).all(axis=1)]
        if not len(finite):
            return self
        n = len(finite)
        ranks = np.linspace(0, n - 1, min(n, MOST_STORED)).round().astype(np.int64)
        fitted = {
            "sorted": np.sort(finite, axis=0)[ranks],
            "count": np.array([float(n)]),
            "mean": finite.mean(axis=0),
            "sd": finite.std(axis=0),
        }
        rarest = np.sort(type(self)(fitted)._compared(finite).as_extreme.min(axis=1)) - 1  # without the image itself
        too_many = rarest[int(RARE * n)]  # so many images, and one more, have a statistic as rare as that
        return type(self)({**fitted, "unusual": np.array([rarest[rarest < too_many].max(initial=0)], dtype=float)})

    def sentences(self, described: Numbers, as_outlying: Numbers) -> list[str]:
        """Return for each image a sentence that names what sets it apart most; "" without calibration images.

        Args:
            described: the statistics of the images (n, d).
            as_outlying: share of calibration images that score at least as high as each image (n,), for images that
                differ in no single statistic.
        """
        if not self.fitted or not len(described):
            return [""] * len(described)
        compared = self._compared(described)
        return [
            self._sentence(values, Compared(*each), as_high) if np.isfinite(values).all() else OVERFLOW
            for values, *each, as_high in zip(described, *compared, as_outlying, strict=True)
        ]

    def _compared(self, described: Numbers) -> "Compared":
        """Compare statistics (n, d); values that differ by less than `TIE` are equal."""
        stored, mean, sd = (self.fitted[name] for name in ("sorted", "mean", "sd"))
        tie = np.maximum(TIE * sd, SMALLEST * np.maximum(1, np.abs(mean)))
        lower = [np.searchsorted(stored[:, j], values - tie[j], side="left") for j, values in enumerate(described.T)]
        at_most = [np.searchsorted(stored[:, j], values + tie[j], side="right") for j, values in enumerate(described.T)]
        as_high, as_low = len(stored) - np.stack(lower, axis=1), np.stack(at_most, axis=1)
        return Compared(np.minimum(as_high, as_low), as_high <= as_low, np.abs(described - mean) * TIE / tie)

    def _sentence(self, values: Numbers, compared: "Compared", as_outlying: float) -> str:
        as_extreme, is_higher, distance = compared
        share = as_extreme / len(self.fitted["sorted"])
        words = statistics((len(values) - len(OF_IMAGE) - len(QUARTERS)) // 2)

        def clause(j: int, images: str | None = None) -> str:
            comparison = words[j].higher if is_higher[j] else words[j].lower
            ratio = self._ratio(values, j) if words[j].is_size else ""
            return f"{comparison} than {_most(share[j], images)}{words[j].where}{ratio}"

        images = f"{int(self.fitted['count'][0]):,} calibration images"
        rarest = np.lexsort([np.arange(len(values)), -np.where(as_extreme > 0, 0, distance), as_extreme])
        first_of_group: dict[str, int] = {}
        for j in rarest:
            first_of_group.setdefault(words[j].group, int(j))
        unusual = [j for j in first_of_group.values() if as_extreme[j] <= self.fitted["unusual"][0]]
        if unusual:
            first, *second = sorted(unusual[:NAMED])
            return "; ".join([clause(first, images), *map(clause, second)])
        if as_outlying > HIGH:
            return NOTHING
        return (
            f"unusual in no single statistic, but its score is higher than that of {_most(as_outlying, images)}; "
            f"what is rarest: {clause(int(rarest[0]))}"
        )

    def _ratio(self, values: Numbers, j: int) -> str:
        median = float(np.median(self.fitted["sorted"][:, j]))
        return f", compressed to {values[j] / median:.2g} times their median size" if median else ""


class Compared(NamedTuple):
    """Statistics of images, compared with those of the calibration images: (n, d), or (d,) of one image."""

    as_extreme: NDArray[np.int64]  # number of stored values at least as high, or as low, whichever is less
    is_higher: NDArray[np.bool_]  # whether they are at least as high
    distance: Numbers  # from their mean, in standard deviations


def _most(share: float, images: str | None = None) -> str:
    """Return the share of images that a statistic is beyond: `99.8% of them`, or of `images` where they are named."""
    if share == 0:
        return "all of them" if images is None else f"all {images}"
    percent = f"{math.floor(1000 * (1 - share) + 1e-6) / 10:g}%"
    return f"{percent} of them" if images is None else f"{percent} of the {images}"


def statistics(levels: int) -> list[Statistic]:
    """Return the words for all statistics of a flow with so many levels."""
    scales = [_scale(level, levels) for level in range(1, levels + 1)]
    return [
        *OF_IMAGE,
        *(OF_SCALE._replace(where=f" at {scale}") for scale in scales),
        *(OF_LEVEL._replace(where=f" at {scale}") for scale in scales),
        *(OF_QUARTER._replace(where=f" in the {quarter} quarter") for quarter in QUARTERS),
    ]


def _scale(level: int, levels: int) -> str:
    if levels == 1:
        return "its only scale"
    if level == 1:
        return "the finest scale"
    pixels = 2**level
    return f"the coarsest scale, {pixels} pixels and more" if level == levels else f"the scale of {pixels} pixels"
