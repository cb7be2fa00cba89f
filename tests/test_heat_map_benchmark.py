"""The measures of `benchmarks/heat_maps.py`; no model is measured here."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from glow_pipeline.images.format import ImageFormat
from tests.conftest import random_images

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("heat_maps")


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("heat_map_candidates")


def test_pixel_auroc_agrees_with_scikit_learn(benchmark: Any) -> None:
    random = np.random.default_rng(0)
    mask = random.random((5, 8, 6)) < 0.2
    maps = np.round(random.normal(size=mask.shape) + mask, 1)  # with ties
    expected = [roc_auc_score(mask[i].ravel(), maps[i].ravel()) for i in range(5)]
    assert benchmark.pixel_auroc(maps, mask) == pytest.approx(expected)


def test_masks_are_where_patches_are(benchmark: Any) -> None:
    images = torch.zeros(50, 3, 32, 48, dtype=torch.uint8)
    changed, mask = benchmark.pasted(images, torch.full((50, 3, 8, 8), 7, dtype=torch.uint8))
    assert np.array_equal(changed.numpy() == 7, np.broadcast_to(mask[:, None], changed.shape))
    assert (mask.sum(axis=(1, 2)) == 64).all()
    assert not mask[:, :2].any()
    assert (images == 0).all()


def test_patches_have_the_format_of_the_images(benchmark: Any) -> None:
    some = random_images(6, 3, (16, 16)) >> 3
    image_format = ImageFormat(channels=3, height=16, width=16, n_bits=5, fit="pad")
    found = benchmark.patches(benchmark.Images(some, some, some, some, some, some), image_format)
    assert {kind: patch.shape for kind, patch in found.items()} == dict.fromkeys(found, torch.Size([6, 3, 4, 4]))
    assert all(int(patch.max()) < 32 for patch in found.values())


def test_block_distance_is_that_of_the_gaussian(candidates: Any) -> None:
    pixels = np.random.default_rng(0).random((40, 8, 8))
    mean, precision = candidates.block_gaussian(pixels)
    block = np.array([image[1:5, 3:7].ravel() for image in pixels])  # around pixels (2, 4) and (3, 5)
    assert mean[1, 2] == pytest.approx(block.mean(axis=0))
    found = candidates.blocks(pixels)
    covariances = np.array([[np.cov(found[:, i, j].T, bias=True) for j in range(4)] for i in range(4)])
    common = covariances.mean(axis=(0, 1))
    ridge = 1e-4 * np.trace(common) / 16 * np.eye(16)
    assert np.linalg.inv(precision[1, 2]) == pytest.approx(0.8 * covariances[1, 2] + 0.2 * common + ridge)
