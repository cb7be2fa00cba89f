import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glow_pipeline.flow.actnorm import ActNorm, initialize_from_data
from tests.flow.helpers import assert_inverts, assert_logdet_is_the_jacobians, gaussian, perturbed


def test_logdet_is_the_jacobians() -> None:
    assert_logdet_is_the_jacobians(perturbed(ActNorm(3)), gaussian(2, 3, 2, 4))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("magnitude", [1, 10, 100])
def test_inverts(dtype: torch.dtype, tolerance: float, magnitude: float) -> None:
    layer = perturbed(ActNorm(3)).to(dtype)
    assert_inverts(layer, magnitude * gaussian(4, 3, 2, 6, dtype=dtype), tolerance)


def test_is_the_identity_before_initialisation() -> None:
    x = gaussian(2, 3, 4, 4, dtype=torch.float32)
    y, logdet = ActNorm(3)(x)
    assert torch.equal(y, x)
    assert torch.equal(logdet, torch.zeros(2))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 4),
    channels=st.integers(1, 5),
    height=st.integers(2, 4),
    width=st.integers(2, 5),
    scale=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_initialisation_gives_mean_0_and_requested_deviation(
    batch: int, channels: int, height: int, width: int, scale: float
) -> None:
    layer = ActNorm(channels, actnorm_scale=scale).double()
    offset_and_stretch = torch.arange(1, channels + 1, dtype=torch.float64)[:, None, None]
    x = offset_and_stretch * gaussian(batch, channels, height, width) + 10 * offset_and_stretch
    with initialize_from_data(layer):
        y, logdet = layer(x)
    std, mean = torch.std_mean(y, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-10)
    torch.testing.assert_close(std, torch.full_like(std, scale), rtol=1e-4, atol=0)
    expected = height * width * torch.log(scale / x.std(dim=(0, 2, 3), correction=0)).sum()
    torch.testing.assert_close(logdet, expected.expand(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_constant_channel_has_standard_deviation_1(scale: float) -> None:
    layer = ActNorm(2, actnorm_scale=scale)
    x = torch.cat([torch.full((3, 1, 4, 4), 7.0), gaussian(3, 1, 4, 4, dtype=torch.float32)], dim=1)
    with initialize_from_data(layer):
        y, logdet = layer(x)
    assert torch.equal(y[:, 0], torch.zeros(3, 4, 4))
    assert y[:, 1].std(correction=0).item() == pytest.approx(scale, rel=1e-4)
    assert layer.log_scale[0, 0].item() == pytest.approx(math.log(scale))
    torch.testing.assert_close(logdet, (16 * layer.log_scale.sum()).expand(3))


def test_single_value_is_a_constant_channel() -> None:
    layer = ActNorm(3)
    x = gaussian(1, 3, 1, 1, dtype=torch.float32)
    with initialize_from_data(layer):
        y, _ = layer(x)
    assert torch.equal(y, torch.zeros_like(x))
    assert torch.equal(layer.log_scale, torch.zeros(1, 3, 1, 1))


@pytest.mark.parametrize("training", [True, False])
def test_statistics_are_taken_within_the_block_only(training: bool) -> None:
    layer = ActNorm(3).train(training)
    x = 5 + 2 * gaussian(8, 3, 4, 4, dtype=torch.float32)
    layer(x)
    layer.inverse(x)
    assert not layer.initialized
    with initialize_from_data(layer):
        layer(x)
    assert layer.initialized
    bias, log_scale = layer.bias.clone(), layer.log_scale.clone()
    layer(100 * x)
    layer.inverse(100 * x)
    assert torch.equal(layer.bias, bias)
    assert torch.equal(layer.log_scale, log_scale)


def test_error_ends_taking_statistics() -> None:
    layer = ActNorm(3)
    with pytest.raises(KeyError), initialize_from_data(layer):
        raise KeyError
    layer(gaussian(2, 3, 4, 4, dtype=torch.float32))
    assert not layer.initialized


def test_initialized_flag_is_saved() -> None:
    layer, other = ActNorm(3), ActNorm(3)
    with initialize_from_data(layer):
        layer(gaussian(2, 3, 4, 4, dtype=torch.float32))
    other.load_state_dict(layer.state_dict())
    assert other.initialized
