"""The heat map of an image: how surprising each pixel is, on a scale set by the calibration images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.images.transfer import HostCopy, arrived, to_device
from glow_pipeline.outliers.densities.density import LARGEST, SMALLEST_SD
from glow_pipeline.outliers.heat_maps.position_nll import level_maps
from glow_pipeline.outliers.heat_maps.scale import quantiles_of, share_below
from glow_pipeline.outliers.heat_maps.smoothing import smoothed
from glow_pipeline.outliers.scores.score import Numbers

SMOOTHING = 1 / 16  # standard deviation for the finest level, as a share of an image's shorter side
USUAL = 0.25  # of what is usual at a position is subtracted
ENOUGH = 2000  # images: the share of bright pixels then varies by a tenth of itself


@dataclass(frozen=True)
class HeatMap:
    """Per-pixel surprise of images under a flow: the likelihood by position, with levels of equal weight.

    map = mean over levels l of (n_l - m_l) / s_l, minus 1/4 of its mean over the validation images at the position.
    n_l is the level's part of -log p by position (`level_maps`), smoothed by a Gaussian of 1/16 of the shorter side
    times sqrt(2)^(l - 1); m_l and s_l are its mean and standard deviation over validation images and positions.
    Without the weights the finest level would decide alone: it has most of the variance, and mostly finds edges.

    The map is then expressed as the share of calibration pixels below it: one scale for all positions. With a scale for
    each position normal images would be equally dark everywhere, but a patch would be found less often where images
    are usually surprising: with all of a position's mean subtracted the pixel AUROC falls from .89 to .82. With a
    quarter it does not fall, and bright pixels of normal images are spread more evenly.

    Cost: one traced pass of the image. Known failures: thin strokes, which a Gaussian of pixel blocks without a flow
    finds better; a missing or plain part of an object, which is likely under a flow; anything smaller than the
    smoothing. `docs/results/heat_maps.md` has the figures.

    Attributes:
        fitted: arrays by name; what is learned from validation images (`level_mean`, `level_sd`, both (L,), and
            `usual`, (H, W)), and the scale that calibration images set (`quantiles`). They are stored in the
            detector's file.
    """

    fitted: Mapping[str, Numbers] = field(default_factory=dict)

    def fit(self, batches: Iterable[ModelledBatch]) -> Self:
        """Return the heat map fitted to validation images (traced batches), without those that overflow.

        Memory does not depend on their number.
        """
        count, total, squares = torch.zeros((), dtype=torch.int64), torch.zeros(()), torch.zeros(())
        for batch in batches:
            maps = smoothed_levels(batch)
            finite = maps.abs().amax(dim=(1, 2, 3)) < LARGEST
            maps = maps.where(finite[:, None, None, None], 0.0)  # a choice of rows would wait for the device
            count = finite.sum() + count
            total = maps.sum(dim=0) + total
            squares = maps.square().mean(dim=(2, 3)).sum(dim=0) + squares
        count, total, squares = count.cpu().clamp_min(1), total.cpu(), squares.cpu()
        by_position = total / count
        mean = by_position.mean(dim=(1, 2))
        sd = (squares / count - mean.square()).clamp_min(0).sqrt()
        sd = torch.where(sd < SMALLEST_SD, 1.0, sd)
        usual = ((by_position - mean[:, None, None]) / sd[:, None, None]).mean(dim=0)
        return replace(self, fitted={"level_mean": mean.numpy(), "level_sd": sd.numpy(), "usual": usual.numpy()})

    def calibrate(self, batches: Iterable[ModelledBatch]) -> Self:
        """Return the heat map with the scale of the calibration images (traced batches); without any it has none.

        Memory does not depend on their number.
        """
        copies = arrived(HostCopy(self.raw(batch).flatten()) for batch in batches)
        quantiles = quantiles_of(numbers.numpy() for (numbers,) in copies)
        return self if quantiles is None else replace(self, fitted={**self.fitted, "quantiles": quantiles})

    def raw(self, batch: ModelledBatch) -> Tensor:
        """Return a traced batch's maps before scaling, float64 (B, H, W): finite, high is surprising."""
        maps = smoothed_levels(batch)
        mean, sd, usual = (
            to_device(torch.from_numpy(self.fitted[name]), maps.device) for name in ("level_mean", "level_sd", "usual")
        )
        return ((maps - mean[:, None, None]) / sd[:, None, None]).mean(dim=1) - USUAL * usual

    def surprise(self, batch: ModelledBatch) -> Numbers:
        """Return for each pixel the share of calibration pixels that are less surprising, (B, H, W) in [0, 1].

        A traced batch. 0.99 and more is bright in a picture; about 1% of the pixels of images that belong are, and an
        image that overflows is bright everywhere.
        """
        return share_below(self.fitted["quantiles"], self.raw(batch).cpu().numpy())


def rows_for_heat_map(n_images: int) -> NDArray[np.int64]:
    """Return the rows of a table to fit or calibrate a heat map with: all, or ENOUGH evenly spread ones.

    A table may be in the order of its classes.
    """
    n = min(n_images, ENOUGH)
    return np.arange(n) * n_images // max(n, 1)


def smoothed_levels(batch: ModelledBatch) -> Tensor:
    """Return each level's smoothed part of -log p(x) by position, float64 (B, L, H, W), finite."""
    maps = level_maps(batch).nan_to_num(nan=LARGEST, posinf=LARGEST, neginf=-LARGEST).clamp(-LARGEST, LARGEST)
    finest = SMOOTHING * min(maps.shape[2:])
    return torch.stack([smoothed(maps[:, i], finest * 2 ** (i / 2)) for i in range(maps.shape[1])], dim=1)
