import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flow.helpers import (
    concatenated,
    perturbed,
    seeded,
    small_glow,
)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    channels=st.sampled_from([1, 3]),
    rows=st.integers(1, 2),
    columns=st.integers(1, 3),
    K=st.sampled_from([1, 3]),
    L=st.integers(1, 3),
    n_bits=st.integers(1, 8),
)
def test_latents_and_decoded_images_have_the_models_shape(
    channels: int, rows: int, columns: int, K: int, L: int, n_bits: int
) -> None:
    shape = (channels, rows * 2**L, columns * 2**L)
    model = small_glow(shape, K, L, n_bits=n_bits)
    drawn = model.draw_latents(5, seeded())
    eps, _ = model(torch.zeros(5, *shape))
    assert [tuple(e.shape) for e in drawn] == [(5, *s) for s in model.latent_shapes] == [tuple(e.shape) for e in eps]
    assert concatenated(drawn).shape == (5, math.prod(shape))

    images = model.decode([3 * e for e in drawn])
    assert images.dtype == torch.uint8
    assert images.shape == (5, *shape)
    assert images.max().item() == 2**n_bits - 1
    assert images.min().item() == 0


def test_latents_are_normal_and_from_the_generator() -> None:
    model = small_glow((1, 8, 8))
    latents = model.draw_latents(100, seeded(1))
    assert torch.equal(concatenated(latents), concatenated(model.draw_latents(100, seeded(1))))
    assert not torch.equal(concatenated(latents), concatenated(model.draw_latents(100, seeded(2))))
    std, mean = torch.std_mean(concatenated(latents))
    assert mean.item() == pytest.approx(0, abs=0.06)
    assert std.item() == pytest.approx(1, abs=0.05)


def test_temperature_multiplies_every_latent() -> None:
    model = perturbed(small_glow(), size=0.1)
    eps = model.draw_latents(3, seeded(), torch.float64)
    assert torch.equal(model.decode(eps, temperature=0.3), model.decode([0.3 * e for e in eps]))
    assert not torch.equal(model.decode(eps, temperature=0.3), model.decode(eps))
    coldest = model.decode(eps, temperature=0)
    assert torch.equal(coldest, coldest[:1].expand_as(coldest))
