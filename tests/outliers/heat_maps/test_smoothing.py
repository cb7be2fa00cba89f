import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from glow_pipeline.outliers.heat_maps.smoothing import smoothed

SIDES = st.integers(1, 12)


@given(st.integers(1, 3), SIDES, SIDES, st.floats(0.1, 9))
def test_agrees_with_scipy(n: int, height: int, width: int, sigma: float) -> None:
    maps = torch.rand(n, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    expected = [gaussian_filter(each.numpy(), sigma, mode="reflect", truncate=4) for each in maps]
    assert smoothed(maps, sigma).numpy() == pytest.approx(np.stack(expected), abs=1e-9)


@given(SIDES, SIDES, st.floats(0, 9))
def test_sum_and_constants_stay(height: int, width: int, sigma: float) -> None:
    maps = torch.rand(2, height, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
    assert smoothed(maps, sigma).sum(dim=(1, 2)) == pytest.approx(maps.sum(dim=(1, 2)))
    assert smoothed(torch.full_like(maps, 0.7), sigma) == pytest.approx(0.7)
