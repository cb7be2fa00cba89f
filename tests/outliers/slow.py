"""Slow and plain computations that scores are checked against: float64, one image at a time, by the plain layers."""

import io
import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.flow import Glow
from glow_pipeline.outliers.statistics.codecs import CODECS, codec_versions
from tests.conftest import jittered_glow

Values = NDArray[np.float64]


@dataclass
class SlowLevel:
    """One level of one image."""

    eps: Values  # (C, H, W)
    log_prob: float  # of the latent under its prior
    logdet: float
    log_scale: Values  # (H, W)


def modelled(model: Glow, images: Tensor, seed: int = 0) -> ModelledBatch:
    """Return images (B, C, H, W) as a score meets them."""
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    return ModelledBatch(model, images, torch.zeros(len(images), dtype=torch.int64), noise, traces=True)


def small_batch(n: int = 6, channels: int = 1, size: int = 8, seed: int = 0, **options: Any) -> ModelledBatch:
    """Return a batch of random 4-bit images and a Glow of two levels, every weight of which was moved."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 16, (n, channels, size, size), generator=random).to(torch.uint8)
    return modelled(jittered_glow(image_shape=(channels, size, size), **options), images, seed)


def slow_levels(batch: ModelledBatch, i: int) -> list[SlowLevel]:
    """Return the levels of image i, finest first; the flow is one without classes and with affine couplings."""
    model = plain_double(batch.model)
    with torch.no_grad():
        z, _ = model.dequantization.forward(batch.images[i : i + 1], batch.noise[i : i + 1].double())
        found = []
        for number, level in enumerate(model.levels):
            z, logdet = level.squeeze(z)[0], 0.0
            log_scale = np.zeros(z.shape[2:])
            for step in level.steps:
                z, by_actnorm = step.actnorm(z)
                z, by_permutation = step.permutation(z)
                half = step.coupling.split_sizes[0]
                s = step.coupling.network(z[:, :half]).chunk(2, dim=1)[1][0].numpy()
                log_scale += (-np.logaddexp(0, -(s + 2))).sum(axis=0)  # log sigmoid(s + 2)
                z, by_coupling = step.coupling(z)
                logdet += float(by_actnorm + by_permutation + by_coupling)
            if number < len(model.splits):
                kept, latent = z.chunk(2, dim=1)
                mean, log_sd = model.splits[number].network(kept)[0].chunk(2)
                eps = ((latent[0] - mean) / log_sd.exp()).numpy()
                log_sd, z = log_sd.numpy(), kept
            else:
                eps, log_sd = z[0].numpy(), np.zeros(z.shape[1:])
            log_prob = float((-0.5 * eps**2 - 0.5 * math.log(2 * math.pi) - log_sd).sum())
            found.append(SlowLevel(eps, log_prob, logdet, log_scale - log_sd.sum(axis=0)))
    return found


def plain_double(model: Glow) -> Any:
    """Return a copy of the flow in float64 that computes by its plain layers."""
    copy: Any = deepcopy(model).double()
    copy.execution = None
    return copy


def slow_nll(batch: ModelledBatch) -> Values:
    """Return the negative log-likelihood of each image in bits per dimension, (B,)."""
    dimensions = batch.images[0].numel()
    levels = [slow_levels(batch, i) for i in range(len(batch.images))]
    log_probs = [sum(level.log_prob + level.logdet for level in image) for image in levels]
    return -np.array(log_probs) / dimensions / math.log(2) + batch.model.dequantization.n_bits


def slow_size(image: NDArray[np.uint8]) -> int:
    """Return the bytes of the smallest file of an 8-bit image (C, H, W)."""
    picture = Image.fromarray(np.dstack(list(image)) if len(image) == 3 else image[0])
    sizes = []
    for name in codec_versions():
        file = io.BytesIO()
        picture.save(file, **CODECS[name])
        sizes.append(len(file.getvalue()))
    return min(sizes)


def slow_bits_per_dim(batch: ModelledBatch) -> Values:
    """Return the compressed size of each image in bits per dimension, (B,)."""
    expanded = batch.model.dequantization.expand(batch.images).numpy()
    return np.array([8 * slow_size(image) / image.size for image in expanded])
