import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glow_pipeline.flow.coupling import AdditiveCoupling, AffineCoupling, CouplingNetwork, ZeroConv
from tests.flow.helpers import assert_inverts, assert_logdet_is_the_jacobians, gaussian, perturbed, seeded

Coupling = type[AdditiveCoupling] | type[AffineCoupling]
both_couplings = pytest.mark.parametrize("coupling", [AdditiveCoupling, AffineCoupling])


@both_couplings
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_logdet_is_the_jacobians(coupling: Coupling, channels: int) -> None:
    assert_logdet_is_the_jacobians(perturbed(coupling(channels, 6)), gaussian(2, channels, 2, 4))


@both_couplings
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("magnitude", [1, 10, 100])
def test_inverts(coupling: Coupling, dtype: torch.dtype, tolerance: float, magnitude: float) -> None:
    layer = perturbed(coupling(6, 8), size=0.1).to(dtype)
    assert_inverts(layer, magnitude * gaussian(3, 6, 4, 6, dtype=dtype), tolerance)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(channels=st.integers(2, 9), height=st.integers(1, 4), width=st.integers(1, 5))
def test_a_fresh_additive_coupling_is_the_identity(channels: int, height: int, width: int) -> None:
    x = gaussian(2, channels, height, width, dtype=torch.float32)
    y, logdet = AdditiveCoupling(channels, 8)(x)
    assert torch.equal(y, x)
    assert torch.equal(logdet, torch.zeros(2))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(channels=st.integers(2, 9), height=st.integers(1, 4), width=st.integers(1, 5))
def test_a_fresh_affine_coupling_scales_the_second_half_by_sigmoid_2(channels: int, height: int, width: int) -> None:
    x = gaussian(2, channels, height, width)
    y, logdet = AffineCoupling(channels, 8).double()(x)
    kept = channels // 2
    sigmoid_2 = 1 / (1 + math.exp(-2))
    assert torch.equal(y[:, :kept], x[:, :kept])
    torch.testing.assert_close(y[:, kept:], sigmoid_2 * x[:, kept:], rtol=1e-12, atol=0)
    expected = (channels - kept) * height * width * math.log(sigmoid_2)
    torch.testing.assert_close(logdet, torch.full_like(logdet, expected), rtol=1e-12, atol=0)


@both_couplings
def test_the_first_half_passes_and_alone_decides_what_happens_to_the_second(coupling: Coupling) -> None:
    layer = perturbed(coupling(4, 6))
    x = gaussian(2, 4, 2, 4)
    other = torch.cat([x[:, :2], x[:, 2:] + 1], dim=1)
    y, logdet = layer(x)
    y_other, logdet_other = layer(other)
    assert torch.equal(y[:, :2], x[:, :2])
    assert torch.equal(logdet, logdet_other)
    # The second half moves linearly, by the scale that the first half gave: 1, or sigmoid(s + 2) < 1.
    scale = y_other[:, 2:] - y[:, 2:]
    torch.testing.assert_close(scale.log().flatten(1).sum(dim=1), logdet, rtol=1e-9, atol=1e-9)


def test_an_additive_coupling_never_changes_the_volume() -> None:
    layer = perturbed(AdditiveCoupling(4, 6), size=1.0)
    x = gaussian(3, 4, 2, 2)
    assert torch.equal(layer(x)[1], torch.zeros(3, dtype=torch.float64))
    assert not torch.allclose(layer(x)[0], x)


def test_an_affine_coupling_never_expands() -> None:
    layer = perturbed(AffineCoupling(4, 6), size=1.0)
    assert (layer(gaussian(16, 4, 2, 2))[1] <= 0).all()


def test_zero_convolution_starts_at_zero_and_learns() -> None:
    layer = ZeroConv(3, 2)
    x = gaussian(2, 3, 4, 4, dtype=torch.float32)
    assert torch.equal(layer(x), torch.zeros(2, 2, 4, 4))
    layer(x).sum().backward()
    assert layer.conv.weight.grad is not None
    assert layer.conv.weight.grad.abs().min() > 0


def test_zero_convolution_multiplies_each_channel_by_exp_3_log_scale() -> None:
    layer = perturbed(ZeroConv(3, 2))
    x = gaussian(2, 3, 4, 4)
    expected = layer.conv(x) * torch.stack([3 * layer.log_scale[0, c, 0, 0] for c in (0, 1)]).exp()[:, None, None]
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_the_network_sees_two_pixels_in_each_direction() -> None:
    network = perturbed(CouplingNetwork(1, 6, 1))
    x = gaussian(1, 1, 9, 9).requires_grad_()
    network(x)[0, 0, 4, 4].backward()
    assert x.grad is not None
    seen = x.grad[0, 0] != 0
    assert seen[2:7, 2:7].all()
    assert seen.sum() == 25


def test_the_networks_hidden_weights_are_drawn_from_the_generator() -> None:
    first, same, other = (CouplingNetwork(4, 16, 4, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.conv1.weight, same.conv1.weight)
    assert torch.equal(first.conv2.weight, same.conv2.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert first.conv1.weight.std().item() == pytest.approx(0.05, rel=0.1)
