import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glow_pipeline.flow.squeeze import Squeeze
from tests.flow.helpers import assert_inverts, assert_logdet_is_the_jacobians, gaussian


def test_logdet_is_the_jacobians() -> None:
    assert_logdet_is_the_jacobians(Squeeze(), gaussian(2, 3, 2, 4))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("magnitude", [1, 100])
def test_inverts_exactly(dtype: torch.dtype, magnitude: float) -> None:
    assert_inverts(Squeeze(), magnitude * gaussian(2, 3, 4, 6, dtype=dtype), tolerance=0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(batch=st.integers(1, 3), channels=st.integers(1, 6), rows=st.integers(1, 4), columns=st.integers(1, 5))
def test_2x2_blocks_become_four_channels(batch: int, channels: int, rows: int, columns: int) -> None:
    x = gaussian(batch, channels, 2 * rows, 2 * columns)
    y, logdet = Squeeze()(x)
    blocks = x.numpy().reshape(batch, channels, rows, 2, columns, 2).transpose(0, 1, 3, 5, 2, 4)
    assert np.array_equal(y.numpy(), blocks.reshape(batch, 4 * channels, rows, columns))
    assert torch.equal(Squeeze().inverse(y), x)
    assert torch.equal(logdet, torch.zeros(batch, dtype=torch.float64))
