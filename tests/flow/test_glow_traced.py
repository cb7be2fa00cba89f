"""A traced pass is the usual pass, and says what each level contributes."""

import math
from typing import Any

import pytest
import torch

from glow_pipeline.flow import Glow
from glow_pipeline.flow.prior import standard_normal_log_prob
from tests.flow.helpers import every_model, gaussian, perturbed, small_glow

SHAPES = [pytest.param((1, 4, 4), id="top of one pixel"), pytest.param((3, 8, 4), id="colour")]


def traced_glow(shape: tuple[int, int, int], options: dict[str, Any]) -> Glow:
    return perturbed(small_glow(shape, **options), 0.1)


@every_model
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fast", [True, False])
def test_traced_pass_has_bits_of_plain_pass(shape: tuple[int, int, int], options: dict[str, Any], fast: bool) -> None:
    model, x = traced_glow(shape, options).float(), gaussian(3, *shape, dtype=torch.float32)
    if not fast:
        model.execution = None
    with torch.no_grad(), model.unchanging():
        plain, (top, levels) = model.to_top(x), model.traced(x)
    assert torch.equal(top.z, plain.z)
    assert torch.equal(top.logdet, plain.logdet)
    assert all(torch.equal(*pair) for pair in zip(top.eps, plain.eps, strict=True))
    assert [level.eps.shape[1:] for level in levels] == model.latent_shapes


@every_model
@pytest.mark.parametrize("shape", SHAPES)
def test_levels_sum_to_log_density(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    model, x = traced_glow(shape, options), gaussian(3, *shape)
    top, levels = model.traced(x)
    total = sum((level.log_prob + level.logdet for level in levels), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(total, model.log_density(top))


@every_model
@pytest.mark.parametrize("shape", SHAPES)
def test_log_scale_map_sums_to_image_dependent_logdet(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    model, x = traced_glow(shape, options), gaussian(3, *shape)
    _, levels = model.traced(x)
    for level in levels[:-1]:
        # What the split adds to its standard normal density is the log-determinant of its scaling.
        expected = level.logdet + level.log_prob - standard_normal_log_prob(level.eps)
        difference = expected - level.log_scale.sum(dim=(1, 2))
        torch.testing.assert_close(difference, difference[:1].expand(3))  # that of the linear layers
    difference = levels[-1].logdet - levels[-1].log_scale.sum(dim=(1, 2))
    torch.testing.assert_close(difference, difference[:1].expand(3))


def test_top_eps_is_that_of_likeliest_class() -> None:
    model, x = traced_glow((1, 4, 4), {"y_condition": True, "num_classes": 3, "learn_top": True}), gaussian(5, 1, 4, 4)
    top, levels = model.traced(x)
    with torch.no_grad():
        each = [model(x, torch.full((5,), k)) for k in range(3)]
        log_probs = torch.stack([standard_normal_log_prob(eps[-1]) + logdet for eps, logdet in each])
    likeliest = log_probs.argmax(dim=0)
    expected = torch.stack([each[k][0][-1][i] for i, k in enumerate(likeliest.tolist())])
    torch.testing.assert_close(levels[-1].eps, expected)
    mixture = model.top.log_prob(top.z)
    torch.testing.assert_close(levels[-1].log_prob, mixture)


def test_underflowing_scale_has_finite_map() -> None:
    model = traced_glow((1, 4, 4), {}).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "conv3.conv.bias" in name:
                parameter.fill_(-200.0)
        _, levels = model.traced(gaussian(2, 1, 4, 4, dtype=torch.float32))
    assert all(level.log_scale.isfinite().all() for level in levels)
    assert all(math.isfinite(value) for level in levels for value in level.logdet.tolist())
