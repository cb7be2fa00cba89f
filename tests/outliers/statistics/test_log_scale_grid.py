import numpy as np
import pytest

from glow_pipeline.outliers.statistics.log_scale_grid import log_scale_grid
from tests.outliers.slow import slow_levels, small_batch


def test_cells_average_the_map() -> None:
    batch = small_batch(2, size=16, L=3)  # maps of 8x8, 4x4 and 2x2
    got = log_scale_grid(batch).numpy().reshape(2, 3, 4, 4)
    for i in range(2):
        fine, middle, coarse = (level.log_scale for level in slow_levels(batch, i))
        cells = [[fine[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for c in range(4)] for r in range(4)]
        assert got[i, 0] == pytest.approx(np.array(cells), rel=1e-5)
        assert got[i, 1] == pytest.approx(middle, rel=1e-5)
        assert got[i, 2] == pytest.approx(np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1), rel=1e-5)


def test_map_of_one_position_is_repeated() -> None:
    batch = small_batch(2, L=3)
    got = log_scale_grid(batch).numpy()
    assert got.shape == (2, 48)
    assert (got[:, 32:] == got[:, 32:33]).all()


def test_additive_couplings_have_no_scale() -> None:
    assert (log_scale_grid(small_batch(2, L=1, flow_coupling="additive")) == 0).all()
