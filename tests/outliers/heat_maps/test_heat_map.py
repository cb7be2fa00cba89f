import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import percentileofscore

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.detector_file import read_detector, write_detector
from glow_pipeline.outliers.heat_maps.heat_map import ENOUGH, HeatMap, rows_for_heat_map
from glow_pipeline.outliers.heat_maps.position_nll import level_maps
from tests.conftest import jittered_glow, random_images
from tests.outliers.slow import modelled

FLOW = jittered_glow()


def batch(n: int, seed: int) -> ModelledBatch:
    """Images of 8x8 whose right half is black, of 4 bits."""
    images = random_images(n, seed=seed) >> 4
    images[..., 4:] = 0
    return modelled(FLOW, images, seed)


@pytest.fixture(scope="module")
@torch.no_grad()
def calibrated() -> HeatMap:
    return HeatMap().fit([batch(60, 1)]).calibrate([batch(1500, 2), batch(500, 3)])


@torch.no_grad()
def test_one_in_a_hundred_normal_pixels_is_bright(calibrated: HeatMap) -> None:
    surprise = calibrated.surprise(batch(2000, 4))
    assert surprise.shape == (2000, 8, 8)
    assert 0 <= surprise.min() <= surprise.max() <= 1
    assert 0.008 < (surprise > 0.99).mean() < 0.012
    assert surprise.mean() == pytest.approx(0.5, abs=0.02)


@torch.no_grad()
def test_surprise_is_a_share_of_calibration_pixels(calibrated: HeatMap) -> None:
    known = np.concatenate([calibrated.raw(batch(1500, 2)), calibrated.raw(batch(500, 3))]).ravel()
    raw = calibrated.raw(batch(3, 5)).numpy().ravel()
    expected = percentileofscore(known, raw, kind="strict") / 100
    assert calibrated.surprise(batch(3, 5)).ravel() == pytest.approx(expected, abs=2e-3)


@torch.no_grad()
def test_foreign_patch_is_brighter_than_its_surroundings(calibrated: HeatMap) -> None:
    patched = batch(50, 6)
    patched.images[:, :, 2:6, 4:8] = 15
    surprise = calibrated.surprise(patched)
    assert surprise[:, 3:5, 5:7].mean() > surprise[:, :, :3].mean() + 0.2


@torch.no_grad()
def test_map_is_independent_of_the_batch(calibrated: HeatMap) -> None:
    together = batch(5, 7)
    alone = [
        ModelledBatch(FLOW, together.images[i : i + 1], together.labels[:1], together.noise[i : i + 1], traces=True)
        for i in range(5)
    ]
    one_by_one = np.concatenate([calibrated.surprise(each) for each in alone])
    assert calibrated.surprise(together) == pytest.approx(one_by_one, abs=1e-5)


@torch.no_grad()
def test_overflowing_image_is_bright_everywhere(calibrated: HeatMap) -> None:
    overflowing = batch(2, 8)
    overflowing.noise[0] = 1e38
    surprise = calibrated.surprise(overflowing)
    assert (surprise[0] > 1 - 1e-8).all()
    assert (surprise[1] < 1).any()


@torch.no_grad()
def test_levels_have_equal_weight() -> None:
    """Computed here from the maps of the levels by SciPy, NumPy and a plain loop."""
    known, new = (level_maps(batch(n, seed)).numpy() for n, seed in ((60, 1), (3, 10)))
    total, usual = np.zeros((3, 8, 8)), np.zeros((8, 8))
    for number in range(2):
        sigma = 8 / 16 * math.sqrt(2) ** number
        fit, asked = (
            np.stack([gaussian_filter(each[number], sigma, mode="reflect") for each in maps]) for maps in (known, new)
        )
        total += (asked - fit.mean()) / fit.std() / 2
        usual += (fit.mean(axis=0) - fit.mean()) / fit.std() / 2
    assert HeatMap().fit([batch(60, 1)]).raw(batch(3, 10)).numpy() == pytest.approx(total - usual / 4, abs=1e-6)


@torch.no_grad()
def test_fit_is_independent_of_batches() -> None:
    together = batch(20, 11)
    parts = [
        ModelledBatch(FLOW, together.images[rows], together.labels[rows], together.noise[rows], traces=True)
        for rows in (slice(0, 3), slice(3, 20))
    ]
    one, other = (HeatMap().fit(batches).fitted for batches in ([together], parts))
    assert all(one[name] == pytest.approx(other[name], abs=1e-6) for name in one)


@torch.no_grad()
def test_overflowing_image_is_not_fitted_to() -> None:
    overflowing = batch(1, 8)
    overflowing.noise[:] = 1e38
    one, other = (HeatMap().fit(batches).fitted for batches in ([batch(9, 1)], [batch(9, 1), overflowing]))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    alone = HeatMap().fit([overflowing]).calibrate([overflowing])
    assert np.isfinite(alone.surprise(batch(1, 1))).all()


@pytest.mark.parametrize(
    ("shape", "L"), [((3, 16, 8), 3), ((1, 2, 2), 1), ((3, 4, 12), 2)], ids=["oblong", "two pixels", "low"]
)
@torch.no_grad()
def test_other_shapes_have_maps(shape: tuple[int, int, int], L: int) -> None:
    images = random_images(8, shape[0], shape[1:]) >> 4
    shaped = modelled(jittered_glow(image_shape=shape, L=L), images)
    surprise = HeatMap().fit([shaped]).calibrate([shaped]).surprise(shaped)
    assert surprise.shape == (8, *shape[1:])
    assert 0 <= surprise.min() < surprise.max() <= 1


@torch.no_grad()
def test_without_calibration_images_there_is_no_scale() -> None:
    assert "quantiles" not in HeatMap().fit([batch(3, 1)]).calibrate([]).fitted


@torch.no_grad()
def test_stored_heat_map_is_the_same(calibrated: HeatMap, tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    write_detector(path, Detector({}, {}, DetectorRecord(model_sha256="abc"), heat_map=calibrated))
    stored = read_detector(path).heat_map
    assert stored is not None
    assert np.array_equal(stored.surprise(batch(2, 9)), calibrated.surprise(batch(2, 9)))


@given(st.integers(0, 30_000))
def test_some_images_of_many_are_evenly_spread(n: int) -> None:
    rows = rows_for_heat_map(n)
    assert len(rows) == min(n, ENOUGH)
    assert np.array_equal(rows, np.arange(n)) if n <= ENOUGH else set(np.diff(rows)) <= {n // ENOUGH, n // ENOUGH + 1}
    assert rows.size == 0 or (rows[0] == 0 and rows[-1] >= n - n / ENOUGH - 1)
