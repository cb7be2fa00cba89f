import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from glow_pipeline.flow.prior import SplitPrior, TopPrior, standard_normal_log_prob
from tests.flow.helpers import assert_close_to_scale, assert_logdet_is_the_jacobians, gaussian, perturbed

DTYPES = [(torch.float64, 1e-10), (torch.float32, 1e-4)]


def classes_of(batch: int, num_classes: int) -> Tensor:
    return torch.arange(batch) % num_classes


@pytest.mark.parametrize("channels", [2, 6])
def test_split_logdet_is_the_jacobians(channels: int) -> None:
    split = perturbed(SplitPrior(channels))

    def forward(z: Tensor) -> tuple[Tensor, Tensor]:
        z1, eps, logdet = split(z)
        return torch.cat([z1, eps], dim=1), logdet

    assert_logdet_is_the_jacobians(forward, gaussian(2, channels, 2, 4))


def top_of_class(top: TopPrior, k: int, z: Tensor) -> tuple[Tensor, Tensor]:
    return top(z, torch.full((len(z),), k))


@pytest.mark.parametrize("learn_top", [True, False])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_top_logdet_is_the_jacobians(learn_top: bool, num_classes: int | None) -> None:
    top = perturbed(TopPrior(4, learn_top, num_classes))
    z = gaussian(2, 4, 2, 3)
    if num_classes is None:
        assert_logdet_is_the_jacobians(top, z)
    else:
        for k in range(num_classes):
            assert_logdet_is_the_jacobians(partial(top_of_class, top, k), z)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("magnitude", [1, 10, 100])
def test_split_inverts(dtype: torch.dtype, tolerance: float, magnitude: float) -> None:
    split = perturbed(SplitPrior(6), size=0.02).to(dtype)
    z = magnitude * gaussian(3, 6, 2, 4, dtype=dtype)
    with torch.no_grad():
        z1, eps, _ = split(z)
        assert_close_to_scale(split.inverse(z1, eps), z, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("magnitude", [1, 10, 100])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_top_inverts(dtype: torch.dtype, tolerance: float, magnitude: float, num_classes: int | None) -> None:
    top = perturbed(TopPrior(4, True, num_classes)).to(dtype)
    z = magnitude * gaussian(6, 4, 2, 3, dtype=dtype)
    y = None if num_classes is None else classes_of(6, num_classes)
    with torch.no_grad():
        assert_close_to_scale(top.inverse(top(z, y)[0], y), z, tolerance)


def test_standard_normal_log_prob_is_torchs() -> None:
    eps = gaussian(3, 2, 4, 5)
    expected = Normal(0.0, 1.0).log_prob(eps).sum(dim=(1, 2, 3))
    torch.testing.assert_close(standard_normal_log_prob(eps), expected, rtol=1e-12, atol=0)


def test_fresh_split_is_the_standard_normal() -> None:
    z = gaussian(2, 6, 2, 4)
    z1, eps, logdet = SplitPrior(6).double()(z)
    assert torch.equal(z1, z[:, :3])
    assert torch.equal(eps, z[:, 3:])
    assert torch.equal(logdet, torch.zeros(2, dtype=torch.float64))


def test_split_is_the_gaussian_its_half_predicts() -> None:
    split = perturbed(SplitPrior(4))
    z = gaussian(3, 4, 2, 4)
    z1, eps, logdet = split(z)
    mean, log_sd = split.network(z[:, :2]).chunk(2, dim=1)
    expected = Normal(mean, log_sd.exp()).log_prob(z[:, 2:]).sum(dim=(1, 2, 3))
    assert torch.equal(z1, z[:, :2])
    torch.testing.assert_close(standard_normal_log_prob(eps) + logdet, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("learn_top", [True, False])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_fresh_top_is_the_standard_normal(learn_top: bool, num_classes: int | None) -> None:
    top = TopPrior(4, learn_top, num_classes).double()
    z = gaussian(3, 4, 2, 2)
    expected = Normal(0.0, 1.0).log_prob(z).sum(dim=(1, 2, 3))
    torch.testing.assert_close(top.log_prob(z), expected, rtol=1e-12, atol=0)
    if num_classes is not None:
        torch.testing.assert_close(top.log_prob(z, classes_of(3, num_classes)), expected, rtol=1e-12, atol=0)


def gaussians_of(top: TopPrior) -> Normal:
    """The Gaussian of each class, (num_classes, C, 1, 1), put together from the parameters alone."""
    assert top.class_gaussian is not None
    mean_and_log_sd = top.class_gaussian.weight.detach()
    if top.gaussian is not None:
        mean_and_log_sd = mean_and_log_sd + top.gaussian.detach()
    C = top.channels
    return Normal(mean_and_log_sd[:, :C, None, None], mean_and_log_sd[:, C:, None, None].exp())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(num_classes=st.integers(1, 5), channels=st.integers(1, 4), learn_top=st.booleans())
def test_conditioned_top_is_class_gaussian_or_mixture(num_classes: int, channels: int, learn_top: bool) -> None:
    top = perturbed(TopPrior(channels, learn_top, num_classes))
    z = gaussian(2 * num_classes, channels, 2, 3)
    y = classes_of(len(z), num_classes)
    gaussians = gaussians_of(top)

    of_its_class = Normal(gaussians.loc[y], gaussians.scale[y]).log_prob(z).sum(dim=(1, 2, 3))
    torch.testing.assert_close(top.log_prob(z, y), of_its_class, rtol=1e-9, atol=1e-9)

    each = Normal(gaussians.loc.expand(-1, -1, 2, 3), gaussians.scale.expand(-1, -1, 2, 3))
    mixture = MixtureSameFamily(Categorical(torch.ones(num_classes, dtype=torch.float64)), Independent(each, 3))
    torch.testing.assert_close(top.log_prob(z), mixture.log_prob(z), rtol=1e-9, atol=1e-9)


def test_learned_top_is_one_gaussian_a_channel() -> None:
    top = perturbed(TopPrior(3, True, None))
    z = gaussian(2, 3, 2, 4)
    assert top.gaussian is not None
    mean, log_sd = top.gaussian.detach().chunk(2)
    expected = Normal(mean[:, None, None], log_sd.exp()[:, None, None]).log_prob(z).sum(dim=(1, 2, 3))
    torch.testing.assert_close(top.log_prob(z), expected, rtol=1e-9, atol=1e-9)


def test_unlearned_unconditioned_top_has_no_parameters() -> None:
    assert list(TopPrior(4, False, None).parameters()) == []


def test_conditioned_forward_and_inverse_need_classes() -> None:
    top = TopPrior(4, False, 3)
    z = gaussian(2, 4, 2, 2, dtype=torch.float32)
    with pytest.raises(ValueError, match="y is missing"):
        top(z)
    with pytest.raises(ValueError, match="y is missing"):
        top.inverse(z)


def test_class_logits_are_linear_in_spatial_mean() -> None:
    top = perturbed(TopPrior(4, False, 3))
    z = gaussian(2, 4, 2, 3)
    assert top.class_head is not None
    weight, bias = top.class_head.weight.detach().numpy(), top.class_head.bias.detach().numpy()
    expected = torch.from_numpy(z.numpy().mean(axis=(2, 3)) @ weight.T + bias)
    torch.testing.assert_close(top.class_logits(z), expected, rtol=1e-12, atol=1e-12)


def test_fresh_class_logits_prefer_no_class() -> None:
    logits = TopPrior(4, False, 5).class_logits(gaussian(2, 4, 2, 3, dtype=torch.float32))
    assert torch.nn.functional.cross_entropy(logits, torch.tensor([0, 4])).item() == pytest.approx(math.log(5))


def test_class_logits_need_a_conditioned_top() -> None:
    with pytest.raises(ValueError, match="without y_condition"):
        TopPrior(4, True, None).class_logits(gaussian(2, 4, 2, 2, dtype=torch.float32))
