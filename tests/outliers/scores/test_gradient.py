import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.outliers.scores import gradient as gradient_module
from glow_pipeline.outliers.scores.gradient import GradientScore, squared_gradient_norms
from glow_pipeline.outliers.scoring import fit_scores, score_table
from tests.conftest import MakeTable, jittered_glow, random_images

IMAGES = random_images(5) >> 4
NOISE = torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def one_backward_each(model: Glow, images: Tensor, noise: Tensor) -> Tensor:
    """Compute `squared_gradient_norms` by one backward pass an image, on the fast path."""
    rows = []
    for image, its_noise in zip(images.split(1), noise.split(1), strict=True):
        model.zero_grad()
        model.log_prob(image, its_noise).sum().backward()
        parameters = [each for each in model.parameters() if each.requires_grad]
        rows.append([0.0 if each.grad is None else float(each.grad.square().sum()) for each in parameters])
    model.zero_grad()
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"K": 2, "LU_decomposed": True, "learn_top": True},
        {"flow_coupling": "additive", "flow_permutation": "shuffle", "L": 1},
        {"y_condition": True, "num_classes": 3, "scale_floor": 0.1},
    ],
    ids=["default", "lu", "additive", "classes"],
)
def test_gradient_norms_are_those_of_single_images(arguments: dict[str, Any]) -> None:
    model = jittered_glow(**arguments).double()
    got = squared_gradient_norms(model, IMAGES, NOISE)
    torch.testing.assert_close(got, one_backward_each(model, IMAGES, NOISE), rtol=1e-9, atol=1e-20)


def test_gradient_norms_of_colour_images() -> None:
    model = jittered_glow(image_shape=(3, 8, 8)).double()
    images = random_images(5, channels=3) >> 4
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = squared_gradient_norms(model, images, noise)
    torch.testing.assert_close(got, one_backward_each(model, images, noise), rtol=1e-9, atol=1e-20)


def test_gradient_norms_do_not_depend_on_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    model = jittered_glow().double()
    together = squared_gradient_norms(model, IMAGES, NOISE)
    monkeypatch.setattr(gradient_module, "NUMBERS_AT_ONCE", 1)  # one image at once
    torch.testing.assert_close(squared_gradient_norms(model, IMAGES, NOISE), together, rtol=1e-12, atol=0)


def test_gradient_norms_leave_the_model_unchanged() -> None:
    model = jittered_glow()
    execution = model.execution
    squared_gradient_norms(model, IMAGES, NOISE.float())
    assert model.execution is execution is not None
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradient_score_is_a_sum_of_normal_densities() -> None:
    random = np.random.default_rng(0)
    fitted_on, scored = random.normal(size=(2, 40, 3)) * [1, 5, 0.1] + [0, 3, -7]
    got = GradientScore().fit(fitted_on, 0).score(scored)
    expected = -sum(norm(fitted_on[:, j].mean(), fitted_on[:, j].std()).logpdf(scored[:, j]) for j in range(3))
    assert got == pytest.approx(expected)


def test_tensors_without_variance_are_left_out() -> None:
    random = np.random.default_rng(0)
    varying = random.normal(size=(20, 2))
    constant = np.full((20, 1), 0.1)
    score = GradientScore().fit(np.hstack([constant, varying]), 0)
    elsewhere = random.normal(size=(7, 3))
    assert score.score(elsewhere) == pytest.approx(GradientScore().fit(varying, 0).score(elsewhere[:, 1:]))


def test_head_of_a_conditioned_flow_is_left_out() -> None:
    # log p(x) does not use it: its gradient is 0 for every image.
    model = jittered_glow(y_condition=True, num_classes=3)
    described = GradientScore().describe(ModelledBatch(model, IMAGES, torch.zeros(5).long(), NOISE.float())).numpy()
    assert np.isfinite(described).all()
    names = [name for name, _ in model.named_parameters()]
    fitted = GradientScore().fit(described, 0).fitted
    unused = [name for name, variance in zip(names, fitted["variance"], strict=True) if variance == 0]
    assert unused == ["top.class_head.weight", "top.class_head.bias"]


def test_gradient_score_of_a_table(make_table: MakeTable) -> None:
    model = jittered_glow()
    fit, test = (Batches(make_table(random_images(n, seed=n), 4), 3, torch.device("cpu")) for n in (9, 5))
    scores = fit_scores(model, fit, [GradientScore()], 0)
    got = score_table(model, test, scores, 0)
    assert list(got) == ["gradient_nats"]
    assert got["gradient_nats"].shape == (5,)
    assert all(math.isfinite(each) for each in got["gradient_nats"])
    alone = score_table(model, Batches(test.table, 5, torch.device("cpu")), scores, 0)["gradient_nats"]
    assert alone == pytest.approx(got["gradient_nats"], rel=1e-3)
