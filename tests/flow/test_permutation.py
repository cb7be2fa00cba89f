from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from glow_pipeline.flow.permutation import (
    FixedPermutation,
    InvertibleConv,
    LUInvertibleConv,
    factorized_at_once,
    log_abs_dets,
    reverse,
    shuffle,
)
from tests.flow.helpers import assert_inverts, assert_logdet_is_the_jacobians, gaussian, perturbed, seeded

Build = Callable[[int], nn.Module]
PERMUTATIONS: dict[str, Build] = {
    "reverse": reverse,
    "shuffle": lambda channels: shuffle(channels, seeded()),
    "invconv": lambda channels: InvertibleConv(channels, seeded()),
    "LU invconv": lambda channels: LUInvertibleConv(channels, seeded()),
}
every_permutation = pytest.mark.parametrize("build", PERMUTATIONS.values(), ids=PERMUTATIONS.keys())


@every_permutation
@pytest.mark.parametrize("channels", [4, 5])
def test_logdet_is_the_jacobians(build: Build, channels: int) -> None:
    assert_logdet_is_the_jacobians(perturbed(build(channels)), gaussian(2, channels, 2, 3))


@every_permutation
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("magnitude", [1, 10, 100])
def test_inverts(build: Build, dtype: torch.dtype, tolerance: float, magnitude: float) -> None:
    layer = perturbed(build(12), size=0.1).to(dtype)
    assert_inverts(layer, magnitude * gaussian(3, 12, 2, 4, dtype=dtype), tolerance)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(channels=st.integers(1, 24), seed=st.integers(0, 100))
def test_fixed_permutations_move_channels_as_their_order_says(channels: int, seed: int) -> None:
    x = gaussian(2, channels, 2, 3)
    for layer in (reverse(channels), shuffle(channels, seeded(seed))):
        y, logdet = layer(x)
        assert np.array_equal(y.numpy(), x.numpy()[:, layer.order.numpy()])
        assert torch.equal(layer.inverse(y), x)
        assert torch.equal(logdet, torch.zeros(2, dtype=torch.float64))
        assert sorted(layer.order.tolist()) == list(range(channels))


def test_reverse_is_the_opposite_order() -> None:
    assert reverse(5).order.tolist() == [4, 3, 2, 1, 0]


def test_shuffle_is_drawn_from_its_generator() -> None:
    assert torch.equal(shuffle(48, seeded(1)).order, shuffle(48, seeded(1)).order)
    assert not torch.equal(shuffle(48, seeded(1)).order, shuffle(48, seeded(2)).order)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    channels=st.integers(1, 48),
    seed=st.integers(0, 100),
    layer_class=st.sampled_from([InvertibleConv, LUInvertibleConv]),
)
def test_invertible_convolutions_start_as_rotations(
    channels: int, seed: int, layer_class: type[InvertibleConv]
) -> None:
    layer = layer_class(channels, seeded(seed))
    W = layer.matrix().detach().double()
    torch.testing.assert_close(W @ W.T, torch.eye(channels, dtype=torch.float64), rtol=0, atol=1e-5)
    assert layer.log_abs_det().abs().item() < 1e-4


def test_both_parametrisations_start_from_the_same_rotation() -> None:
    plain, decomposed = InvertibleConv(12, seeded(3)), LUInvertibleConv(12, seeded(3))
    torch.testing.assert_close(decomposed.matrix(), plain.matrix(), rtol=0, atol=1e-5)


def test_invertible_convolution_multiplies_pixels_by_its_matrix() -> None:
    layer = perturbed(InvertibleConv(5, seeded()))
    x = gaussian(2, 5, 3, 4)
    expected = np.einsum("oi,bihw->bohw", layer.matrix().detach().numpy(), x.numpy())
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 4, 7, 12])
def test_lu_matrix_is_p_l_u(channels: int) -> None:
    layer = perturbed(LUInvertibleConv(channels, seeded(channels)))
    rows = layer.row_order.numpy()
    P = np.eye(channels)[rows]
    L = np.tril(layer.lower.detach().numpy(), -1) + np.eye(channels)
    s = layer.sign_s.numpy() * np.exp(layer.log_s.detach().numpy())
    U = np.triu(layer.upper.detach().numpy(), 1) + np.diag(s)
    W = P @ L @ U
    np.testing.assert_allclose(layer.matrix().detach().numpy(), W, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.log_abs_det().item(), np.linalg.slogdet(W).logabsdet, rtol=1e-9, atol=1e-9)


def test_only_the_triangles_of_the_lu_factors_count() -> None:
    layer = perturbed(LUInvertibleConv(6, seeded()))
    before = layer.matrix().detach().clone()
    with torch.no_grad():
        layer.lower.add_(torch.ones_like(layer.lower).triu())
        layer.upper.add_(torch.ones_like(layer.upper).tril())
    assert torch.equal(layer.matrix(), before)


def test_lu_factors_keep_the_signs() -> None:
    layer = LUInvertibleConv(24, seeded())
    assert set(layer.sign_s.tolist()) == {-1.0, 1.0}
    assert "sign_s" in dict(layer.named_buffers())
    assert "row_order" in dict(layer.named_buffers())


def test_order_is_saved_with_the_layer() -> None:
    source, other = shuffle(48, seeded(1)), shuffle(48, seeded(2))
    other.load_state_dict(source.state_dict())
    x = gaussian(1, 48, 2, 2)
    assert torch.equal(other(x)[0], source(x)[0])
    assert torch.equal(other.inverse(x), source.inverse(x))


def test_both_parametrisations_learn_the_determinant() -> None:
    plain, decomposed = InvertibleConv(6, seeded()), LUInvertibleConv(6, seeded())
    for layer in (plain, decomposed):
        layer(gaussian(1, 6, 2, 2, dtype=torch.float32))[1].sum().backward()
    assert plain.weight.grad is not None
    torch.testing.assert_close(plain.weight.grad, 4 * torch.linalg.inv(plain.weight).T, rtol=1e-3, atol=1e-3)
    assert decomposed.log_s.grad is not None
    assert torch.equal(decomposed.log_s.grad, torch.full((6,), 4.0))


def test_fixed_permutation_has_no_parameters() -> None:
    layer = FixedPermutation(torch.tensor([1, 0]))
    assert list(layer.parameters()) == []
    assert list(layer.state_dict()) == ["order"]


# Many matrices --------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True)
@given(count=st.integers(1, 70), channels=st.sampled_from([4, 12, 16, 24, 48, 96, 128, 192, 384]))
def test_no_part_makes_a_gpu_wait(count: int, channels: int) -> None:
    """As torch 2.11 chooses: MAGMA for more than 16 matrices of C > 16, and for more than one of C > 128."""
    matrices = torch.arange(count)[:, None, None].expand(count, channels, channels)
    parts = factorized_at_once(matrices)
    assert torch.equal(torch.cat(parts), matrices)
    for part in parts:
        assert len(part) == 1 or channels <= 16 or (channels <= 128 and len(part) <= 16)
    if count > 1 and channels <= 128:
        assert min(map(len, parts)) > 1  # a single one is factorized by cuSOLVER, which takes longer


@pytest.mark.parametrize(("count", "channels"), [(1, 24), (16, 24), (33, 24), (3, 192)])
def test_determinants_in_parts_keep_their_bits(count: int, channels: int) -> None:
    layers = [InvertibleConv(channels, seeded(seed)) for seed in range(count)]
    log_abs_det = log_abs_dets(layers)
    assert isinstance(log_abs_det, torch.Tensor)
    log_abs_det.backward()
    stacked = torch.stack([layer.weight.detach() for layer in layers]).requires_grad_()
    expected = torch.linalg.slogdet(stacked).logabsdet.sum()
    expected.backward()
    assert torch.equal(log_abs_det, expected)
    assert stacked.grad is not None
    for layer, gradient in zip(layers, stacked.grad, strict=True):
        assert layer.weight.grad is not None
        assert torch.equal(layer.weight.grad, gradient)
