"""The heat maps that `benchmarks/heat_maps.py` compares: the product's, others, and controls without a flow."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import sobel
from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.density import ModelledBatch, modelled_batches
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batch
from glow_pipeline.outliers.heat_maps.heat_map import USUAL, HeatMap
from glow_pipeline.outliers.heat_maps.position_nll import level_maps
from glow_pipeline.outliers.heat_maps.smoothing import smoothed

SMOOTHING = 3 / 32  # of maps other than the product's: standard deviation as a share of the shorter side
BATCH, SEED = 250, 0
PRODUCT, SOBEL = "**levels of equal weight, minus 1/4 of the usual**", "control: Sobel"
BLOCKS = "control: Gaussian of pixel blocks, by position"
Values = NDArray[np.float64]
Maps = dict[str, Values]  # name of a map -> (n, H, W), high is surprising


class Candidates:
    """The maps, those of the flow and controls without it, fitted to images.

    - position NLL: the sum over levels, smoothed;
    - + energy: and the mean squared latent of the coarsest level, both standardised;
    - + given content: and |NLL - its ridge regression on second-order polynomials of Sobel, intensity, local standard
      deviation and place|, in standard deviations of what is left;
    - levels of equal weight, minus none, a quarter or all of the usual at a position (`HeatMap`).

    Args:
        flow: the model.
        images: (n, C, H, W) to fit to.
    """

    def __init__(self, flow: Glow, images: Tensor) -> None:
        self.flow = flow
        self.heat_map = HeatMap().fit(traced(flow, images))
        self.moments: dict[str, tuple[float, float]] = {}
        self.content_moments = moments_of(content(grey(images)))
        self.mean_block, self.precision = block_gaussian(grey(images))
        raw = self._unstandardized(images)
        self.weights, self.residual_sd = self._ridge(content(grey(images)), raw["nll"])
        self.moments = {name: (float(values.mean()), float(values.std())) for name, values in raw.items()}

    def __call__(self, images: Tensor) -> Maps:
        """Return every map of the images."""
        raw = self._unstandardized(images)
        nll, energy = ((raw[name] - self.moments[name][0]) / self.moments[name][1] for name in ("nll", "energy"))
        given = np.abs(raw["nll"] - self._design(content(grey(images))) @ self.weights) / self.residual_sd
        usual, product = self.heat_map.fitted["usual"], raw["product"]
        pixels = grey(images)
        gradient = np.hypot(sobel(pixels, 1), sobel(pixels, 2))
        spread = np.sqrt(np.maximum(smooth(pixels**2, 1) - smooth(pixels, 1) ** 2, 0))
        side = min(images.shape[2:])
        return {
            SOBEL: smooth(gradient, SMOOTHING * side),
            "control: intensity": smooth(pixels, SMOOTHING * side),
            "control: local standard deviation": smooth(spread, SMOOTHING * side),
            BLOCKS: smooth(self._block_distance(pixels), SMOOTHING * side),
            "energy of the coarsest level": energy,
            "position NLL": nll,
            "position NLL + energy": nll + energy,
            "position NLL + energy + given content": nll + energy + given,
            "levels of equal weight": product + USUAL * usual,
            PRODUCT: product,
            "levels of equal weight, minus all of the usual": product - (1 - USUAL) * usual,
        }

    def _unstandardized(self, images: Tensor) -> Maps:
        parts: dict[str, list[Tensor]] = {"nll": [], "energy": [], "product": []}
        sigma = SMOOTHING * min(images.shape[2:])
        for batch in traced(self.flow, images):
            squares = batch.levels[-1].eps.double().square().mean(dim=1)
            side = images.shape[2] // squares.shape[1]
            energy = squares.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
            parts["nll"].append(smoothed(level_maps(batch).sum(dim=1), sigma))
            parts["energy"].append(smoothed(energy, sigma))
            parts["product"].append(self.heat_map.raw(batch))
        return {name: torch.cat(values).numpy() for name, values in parts.items()}

    def _design(self, features: Values) -> Values:
        """Return all products of two of (1, features): (n, H, W, d) -> (n, H, W, (d + 1)(d + 2) / 2)."""
        mean, sd = self.content_moments
        z = np.concatenate([np.ones_like(features[..., :1]), (features - mean) / sd], axis=-1)
        return np.stack([z[..., i] * z[..., j] for i in range(z.shape[-1]) for j in range(i, z.shape[-1])], axis=-1)

    def _ridge(self, features: Values, target: Values) -> tuple[Values, float]:
        """Return weights, and the standard deviation of what is left."""
        rows = np.random.default_rng(SEED).permutation(target.size)[:100_000]
        design = self._design(features.reshape(-1, features.shape[-1])[rows])
        wanted = target.reshape(-1)[rows]
        gram = design.T @ design + 1e-3 * len(rows) * np.eye(design.shape[1])
        weights = np.asarray(np.linalg.solve(gram, design.T @ wanted), dtype=np.float64)
        residual: Values = wanted - design @ weights
        return weights, float(residual.std())

    def _block_distance(self, pixels: Values) -> Values:
        off = blocks(pixels) - self.mean_block
        distance = np.einsum("nijk,ijkl,nijl->nij", off, self.precision, off, optimize=True)
        return np.sqrt(distance).repeat(2, axis=1).repeat(2, axis=2)


def traced(flow: Glow, images: Tensor) -> Iterator[ModelledBatch]:
    """Yield traced batches of images (n, C, H, W)."""
    batches = (Batch(some, torch.zeros(len(some), dtype=torch.int64)) for some in images.split(BATCH))
    return modelled_batches(flow, batches, SEED, None, traces=True)


def grey(images: Tensor) -> Values:
    """Return the mean over channels, (n, H, W)."""
    return images.double().mean(dim=1).numpy()


def smooth(maps: Values, sigma: float) -> Values:
    """Smooth maps (n, H, W) as the product does."""
    return smoothed(torch.from_numpy(maps), sigma).numpy()


def content(pixels: Values) -> Values:
    """Return what an eye sees at each pixel, (n, H, W, 10): edges, intensity, local spread, place."""
    edges = np.hypot(sobel(pixels, 1), sobel(pixels, 2))
    spread = np.sqrt(np.maximum(smooth(pixels**2, 1.5) - smooth(pixels, 1.5) ** 2, 0))
    seen = [smooth(edges, 1), smooth(edges, 2), smooth(pixels, 1), smooth(pixels, 2), smooth(pixels, 4), spread]
    roots = [np.sqrt(np.maximum(each, 0)) for each in (seen[1], seen[3])]
    y, x = np.mgrid[-1 : 1 : pixels.shape[1] * 1j, -1 : 1 : pixels.shape[2] * 1j]
    return np.stack([*seen, *roots, np.broadcast_to(y, pixels.shape), np.broadcast_to(x, pixels.shape)], axis=-1)


def moments_of(features: Values) -> tuple[Values, Values]:
    """Return mean and standard deviation of each feature (..., d)."""
    return features.mean(axis=(0, 1, 2)), features.std(axis=(0, 1, 2)) + 1e-9


def blocks(pixels: Values) -> Values:
    """Return the 4x4 pixels around every second one, (n, H / 2, W / 2, 16)."""
    padded = F.pad(torch.from_numpy(pixels)[:, None], (1, 1, 1, 1), mode="replicate")
    found = F.unfold(padded, 4, stride=2).reshape(len(pixels), 16, pixels.shape[1] // 2, pixels.shape[2] // 2)
    return found.permute(0, 2, 3, 1).numpy()


def block_gaussian(pixels: Values) -> tuple[Values, Values]:
    """Return mean and precision of each position's block, with a fifth of the mean covariance of all positions."""
    found = blocks(pixels)
    mean = found.mean(axis=0)
    off = found - mean
    covariance = np.einsum("nijk,nijl->ijkl", off, off, optimize=True) / len(off)
    common = covariance.mean(axis=(0, 1))
    shrunk = 0.8 * covariance + 0.2 * common + 1e-4 * np.eye(16) * np.trace(common) / 16
    return mean, np.linalg.inv(shrunk)
