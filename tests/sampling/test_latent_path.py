import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.randomness import generator
from glow_pipeline.sampling.latent_path import LATENT_PATHS, LatentPath, along_line, along_sphere

SHAPES = ((2, 4, 4), (8, 2, 2))


def latents(seed: int, scale: float = 1.0) -> list[Tensor]:
    random = generator(seed, "latents")
    return [scale * torch.randn(6, *shape, generator=random) for shape in SHAPES]


def vectors(levels: Sequence[Tensor]) -> NDArray[np.float64]:
    return np.concatenate([level.reshape(len(level), -1).double().numpy() for level in levels], axis=1)


def norms(levels: Sequence[Tensor]) -> NDArray[np.float64]:
    return np.linalg.norm(vectors(levels), axis=1)


@pytest.mark.parametrize("path", ["linear", "sphere"])
def test_path_ends_are_exact(path: LatentPath) -> None:
    start, end = latents(0), latents(1, scale=1.7)
    for part, expected in ((0.0, start), (1.0, end)):
        found = LATENT_PATHS[path](start, end, part)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_sphere_turns_evenly_and_norm_is_linear(part: float) -> None:
    start, end = latents(0), latents(1, scale=1.7)
    found, a, b = vectors(along_sphere(start, end, part)), vectors(start), vectors(end)
    length = np.linalg.norm(found, axis=1)
    assert length == pytest.approx((1 - part) * norms(start) + part * norms(end), rel=1e-5)

    def angle(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.arccos((u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1))

    assert angle(found, a) == pytest.approx(part * angle(a, b), rel=1e-4)
    assert angle(found, b) == pytest.approx((1 - part) * angle(a, b), rel=1e-4)


def test_middle_of_line_is_shorter() -> None:
    start, end = latents(0), latents(1)
    ends = (norms(start) + norms(end)) / 2
    assert np.mean(norms(along_line(start, end, 0.5)) / ends) == pytest.approx(math.sqrt(0.5), abs=0.05)
    assert norms(along_sphere(start, end, 0.5)) == pytest.approx(ends, rel=1e-5)


@pytest.mark.parametrize("distance", [0.0, 1e-7, 1e-4])
def test_sphere_between_close_latents_is_straight(distance: float) -> None:
    start = latents(0)
    end = [level + distance * other for level, other in zip(start, latents(1), strict=True)]
    for on_sphere, on_line in zip(along_sphere(start, end, 0.3), along_line(start, end, 0.3), strict=True):
        torch.testing.assert_close(on_sphere, on_line, atol=1e-6, rtol=1e-6)
