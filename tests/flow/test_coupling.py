import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glow_pipeline.flow.coupling import AdditiveCoupling, AffineCoupling, CouplingNetwork, ZeroConv
from glow_pipeline.flow.transform import affine_scale
from tests.flow.helpers import assert_inverts, assert_logdet_is_the_jacobians, gaussian, perturbed, seeded

FLOOR = 0.2

Coupling = Callable[[int, int], AdditiveCoupling | AffineCoupling]
couplings = pytest.mark.parametrize(
    "coupling",
    [AdditiveCoupling, AffineCoupling, partial(AffineCoupling, scale_floor=FLOOR)],
    ids=["additive", "affine", "affine with a floor"],
)


@couplings
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_logdet_is_the_jacobians(coupling: Coupling, channels: int) -> None:
    assert_logdet_is_the_jacobians(perturbed(coupling(channels, 6)), gaussian(2, channels, 2, 4))


@couplings
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("magnitude", [1, 10, 100])
def test_inverts(coupling: Coupling, dtype: torch.dtype, tolerance: float, magnitude: float) -> None:
    layer = perturbed(coupling(6, 8), size=0.1).to(dtype)
    assert_inverts(layer, magnitude * gaussian(3, 6, 4, 6, dtype=dtype), tolerance)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(channels=st.integers(2, 9), height=st.integers(1, 4), width=st.integers(1, 5))
def test_fresh_additive_coupling_is_the_identity(channels: int, height: int, width: int) -> None:
    x = gaussian(2, channels, height, width, dtype=torch.float32)
    y, logdet = AdditiveCoupling(channels, 8)(x)
    assert torch.equal(y, x)
    assert torch.equal(logdet, torch.zeros(2))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    channels=st.integers(2, 9),
    height=st.integers(1, 4),
    width=st.integers(1, 5),
    floor=st.sampled_from([0.0, 0.1, 0.9]),
)
def test_fresh_affine_coupling_scales_by_sigmoid_2(channels: int, height: int, width: int, floor: float) -> None:
    x = gaussian(2, channels, height, width)
    y, logdet = AffineCoupling(channels, 8, scale_floor=floor).double()(x)
    kept = channels // 2
    scale = floor + (1 - floor) / (1 + math.exp(-2))
    assert torch.equal(y[:, :kept], x[:, :kept])
    torch.testing.assert_close(y[:, kept:], scale * x[:, kept:], rtol=1e-12, atol=0)
    expected = (channels - kept) * height * width * math.log(scale)
    torch.testing.assert_close(logdet, torch.full_like(logdet, expected), rtol=1e-12, atol=0)


@couplings
def test_first_half_passes_and_decides_the_second(coupling: Coupling) -> None:
    layer = perturbed(coupling(4, 6))
    x = gaussian(2, 4, 2, 4)
    other = torch.cat([x[:, :2], x[:, 2:] + 1], dim=1)
    y, logdet = layer(x)
    y_other, logdet_other = layer(other)
    assert torch.equal(y[:, :2], x[:, :2])
    assert torch.equal(logdet, logdet_other)
    # The second half moves linearly, by the scale that the first half gave: 1, or less.
    scale = y_other[:, 2:] - y[:, 2:]
    torch.testing.assert_close(scale.log().flatten(1).sum(dim=1), logdet, rtol=1e-9, atol=1e-9)


def test_additive_coupling_preserves_the_volume() -> None:
    layer = perturbed(AdditiveCoupling(4, 6), size=1.0)
    x = gaussian(3, 4, 2, 2)
    assert torch.equal(layer(x)[1], torch.zeros(3, dtype=torch.float64))
    assert not torch.allclose(layer(x)[0], x)


@pytest.mark.parametrize("floor", [0.0, FLOOR])
def test_affine_coupling_never_expands(floor: float) -> None:
    layer = perturbed(AffineCoupling(4, 6, scale_floor=floor), size=1.0)
    assert (layer(gaussian(16, 4, 2, 2))[1] <= 0).all()


def shrunk(s: float, floor: float, dtype: torch.dtype) -> AffineCoupling:
    """A coupling without shifts whose scale parameters are all `s`."""
    layer = AffineCoupling(4, 6, scale_floor=floor).to(dtype)
    with torch.no_grad():
        layer.network.conv3.conv.bias[2:] = s  # type: ignore[index]  # it has a bias
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("s", [-5.0, -30.0, -1e3, -1e30])
@pytest.mark.parametrize("floor", [1e-3, 0.1, 0.9])
def test_no_scale_falls_below_the_floor(floor: float, s: float, dtype: torch.dtype) -> None:
    assert (affine_scale(torch.tensor([s], dtype=dtype), floor) >= torch.tensor([floor], dtype=dtype)).all()
    layer = shrunk(s, floor, dtype)
    x = gaussian(3, 4, 2, 4, dtype=dtype)
    y, logdet = layer(x)
    rounding = 8 * torch.finfo(dtype).eps
    assert (y[:, 2:].abs() >= floor * (1 - rounding) * x[:, 2:].abs()).all()
    assert (logdet >= 2 * 2 * 4 * math.log(floor) * (1 + rounding)).all()
    torch.testing.assert_close(layer.inverse(y), x, rtol=rounding, atol=0)


def test_coupling_without_floor_shrinks_beyond_floats() -> None:
    layer = shrunk(-200.0, 0.0, torch.float32)
    x = gaussian(3, 4, 2, 4, dtype=torch.float32)
    assert not layer.inverse(layer(x)[0]).isfinite().all()


@pytest.mark.parametrize("s", [-1e3, -30.0, 0.0, 30.0, 1e3])
@pytest.mark.parametrize("floor", [0.0, FLOOR])
def test_gradients_are_finite_at_extreme_scales(s: float, floor: float) -> None:
    layer = shrunk(s, floor, torch.float32)
    y, logdet = layer(gaussian(3, 4, 2, 4, dtype=torch.float32))
    (y.square().sum() - logdet.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())


@pytest.mark.parametrize("floor", [-0.1, 1.0, math.nan])
def test_invalid_floor_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match="scale_floor="):
        AffineCoupling(4, 6, scale_floor=floor)


def test_zero_convolution_starts_at_zero_and_learns() -> None:
    layer = ZeroConv(3, 2)
    x = gaussian(2, 3, 4, 4, dtype=torch.float32)
    assert torch.equal(layer(x), torch.zeros(2, 2, 4, 4))
    layer(x).sum().backward()
    assert layer.conv.weight.grad is not None
    assert layer.conv.weight.grad.abs().min() > 0


def test_zero_convolution_scales_by_exp_3_log_scale() -> None:
    layer = perturbed(ZeroConv(3, 2))
    x = gaussian(2, 3, 4, 4)
    expected = layer.conv(x) * torch.stack([3 * layer.log_scale[0, c, 0, 0] for c in (0, 1)]).exp()[:, None, None]
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_network_sees_two_pixels_in_each_direction() -> None:
    network = perturbed(CouplingNetwork(1, 6, 1))
    x = gaussian(1, 1, 9, 9).requires_grad_()
    network(x)[0, 0, 4, 4].backward()
    assert x.grad is not None
    seen = x.grad[0, 0] != 0
    assert seen[2:7, 2:7].all()
    assert seen.sum() == 25


def test_hidden_weights_come_from_the_generator() -> None:
    first, same, other = (CouplingNetwork(4, 16, 4, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.conv1.weight, same.conv1.weight)
    assert torch.equal(first.conv2.weight, same.conv2.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert first.conv1.weight.std().item() == pytest.approx(0.05, rel=0.1)
