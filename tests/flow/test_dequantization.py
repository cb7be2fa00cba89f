import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from glow_pipeline.flow import Dequantization
from tests.flow.helpers import assert_logdet_is_the_jacobians, seeded

every_n_bits = pytest.mark.parametrize("n_bits", range(1, 9))


def every_level(n_bits: int) -> Tensor:
    """One image (1, 1, 1, 2**n_bits) that holds each level once."""
    return torch.arange(2**n_bits, dtype=torch.uint8).view(1, 1, 1, -1)


@pytest.mark.parametrize("n_bits", [-1, 0, 9])
def test_other_bit_depths_are_refused(n_bits: int) -> None:
    with pytest.raises(ValueError, match=f"n_bits={n_bits}: allowed are 1 to 8"):
        Dequantization(n_bits)


@every_n_bits
def test_reduce_is_integer_division(n_bits: int) -> None:
    images = torch.arange(256, dtype=torch.uint8)
    reduced = Dequantization(n_bits).reduce(images)
    assert reduced.dtype == torch.uint8
    assert np.array_equal(reduced.numpy(), np.arange(256) // 2 ** (8 - n_bits))


@every_n_bits
def test_expand_spreads_the_levels_from_black_to_white(n_bits: int) -> None:
    levels = every_level(n_bits).flatten()
    shown = Dequantization(n_bits).expand(levels)
    assert shown.dtype == torch.uint8
    assert np.array_equal(shown.numpy(), np.round(np.arange(2**n_bits) * 255 / (2**n_bits - 1)))
    assert shown[0] == 0
    assert shown[-1] == 255
    assert (shown.int().diff() > 0).all()


@every_n_bits
def test_reduce_undoes_expand(n_bits: int) -> None:
    dequantization = Dequantization(n_bits)
    levels = every_level(n_bits)
    assert torch.equal(dequantization.reduce(dequantization.expand(levels)), levels)


@every_n_bits
def test_cells_of_levels_tile_the_unit_interval(n_bits: int) -> None:
    dequantization = Dequantization(n_bits)
    levels = every_level(n_bits)
    lowest, _ = dequantization.forward(levels, torch.zeros(levels.shape, dtype=torch.float64))
    highest, _ = dequantization.forward(levels, torch.ones(levels.shape, dtype=torch.float64))
    assert torch.equal(highest - lowest, torch.full_like(lowest, 1 / 2**n_bits))
    assert torch.equal(highest[..., :-1], lowest[..., 1:])
    assert lowest.min() == -0.5
    assert highest.max() == 0.5


@every_n_bits
def test_logdet_is_the_jacobians_of_the_noise(n_bits: int) -> None:
    dequantization = Dequantization(n_bits)
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    noise = torch.rand(2, 3, 2, 2, generator=seeded(), dtype=torch.float64)
    assert_logdet_is_the_jacobians(lambda u: dequantization.forward(images.expand(len(u), -1, -1, -1), u), noise)


def test_five_bits_are_not_treated_as_eight() -> None:
    """An error of several public ports: reduce to 5 bits, then noise of 1/256 and log 256 all the same.

    Their density is measured on slivers of the cells, and reports far fewer bits than there are.
    """
    images = torch.full((1, 1, 64, 64), 17, dtype=torch.uint8)
    x, logdet = Dequantization(5).dequantize(images, seeded())
    width = (x.max() - x.min()).item()
    assert width == pytest.approx(1 / 32, rel=0.01)
    assert logdet.item() == pytest.approx(-64 * 64 * math.log(32), rel=1e-6)


@every_n_bits
def test_inverse_returns_every_level(n_bits: int) -> None:
    dequantization = Dequantization(n_bits)
    levels = every_level(n_bits)
    for u in (0.0, 1e-9, 0.5, 1 - 1e-9):
        x, _ = dequantization.forward(levels, torch.full(levels.shape, u, dtype=torch.float64))
        assert torch.equal(dequantization.inverse(x), levels)
    # In float32 x holds a cell's inside to about 2**-16 of its width; noise nearer to 1 may round up a level.
    for u in (0.0, 2**-16, 0.5, 1 - 2**-16):
        x, _ = dequantization.forward(levels, torch.full(levels.shape, u, dtype=torch.float32))
        back = dequantization.inverse(x)
        assert back.dtype == torch.uint8
        assert torch.equal(back, levels)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(n_bits=st.integers(1, 8), batch=st.integers(1, 3), channels=st.sampled_from([1, 3]), seed=st.integers(0, 999))
def test_dequantized_images_are_in_their_cells(n_bits: int, batch: int, channels: int, seed: int) -> None:
    dequantization = Dequantization(n_bits)
    shape = (batch, channels, 4, 6)
    images = torch.randint(0, 2**n_bits, shape, generator=seeded(seed)).to(torch.uint8)
    x, logdet = dequantization.dequantize(images, seeded(seed))
    assert x.dtype == torch.float32
    assert x.shape == shape
    position = (x.double().numpy() + 0.5) * 2**n_bits - images.numpy()
    assert position.min() >= 0
    assert position.max() < 1
    assert torch.equal(dequantization.inverse(x), images)
    torch.testing.assert_close(logdet, torch.full((batch,), -channels * 24 * n_bits * math.log(2)))


def test_noise_is_uniform_over_the_cell() -> None:
    dequantization = Dequantization(3)
    x, _ = dequantization.dequantize(torch.full((1, 1, 100, 100), 5, dtype=torch.uint8), seeded())
    position = (x + 0.5) * 8 - 5
    counts = torch.histc(position, bins=10, min=0, max=1)
    assert counts.sum() == 10_000
    # 5 standard deviations of a binomial count
    assert (counts - 1000).abs().max() < 5 * math.sqrt(10_000 * 0.1 * 0.9)


def test_noise_comes_from_the_generator_only() -> None:
    dequantization = Dequantization(8)
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    first, again, other = (dequantization.dequantize(images, seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@every_n_bits
def test_points_outside_the_cube_become_the_nearest_level(n_bits: int) -> None:
    x = torch.tensor([[[[-7.0, -0.5001, 0.5, 9.0]]]])
    top = 2**n_bits - 1
    assert Dequantization(n_bits).inverse(x).flatten().tolist() == [0, 0, top, top]
