import math

import numpy as np
import pytest
import torch

from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.outliers.nll import nll
from glow_pipeline.randomness import key
from tests.conftest import MakeTable, jittered_glow, random_images

CPU = torch.device("cpu")
IMAGES = random_images(7)


def test_nll_is_minus_log2_of_the_probability_a_dimension(make_table: MakeTable) -> None:
    model = jittered_glow()
    noise = content_noise(IMAGES >> 4, key(5, "score"))
    with torch.no_grad():
        nats = model.log_prob(IMAGES >> 4, noise).numpy().astype(np.float64)
    got = nll(model, Batches(make_table(IMAGES, 4), 7, CPU), 5)
    assert got.dtype == torch.float64
    assert got.numpy() == pytest.approx(-nats / math.log(2) / 64, rel=1e-12)


def test_nll_is_the_same_each_time_and_in_the_order_of_the_table(make_table: MakeTable) -> None:
    model, table = jittered_glow(), make_table(IMAGES, 4)
    got = nll(model, Batches(table, 3, CPU), 0)
    assert got.shape == (7,)
    assert torch.equal(nll(model, Batches(table, 3, CPU), 0), got)
    first = nll(model, Batches(table.subset(np.arange(3)), 3, CPU), 0)
    assert torch.equal(got[:3], first)


def test_what_the_model_finds_improbable_scores_higher(make_table: MakeTable) -> None:
    # An untrained flow is nearly a Gaussian around mid-grey, so black-and-white images are far out.
    model = jittered_glow()
    grey = nll(model, Batches(make_table(random_images(5) // 8 + 112, 4), 5, CPU), 0)
    black_and_white = nll(model, Batches(make_table(random_images(5).gt(127).to(torch.uint8) * 255, 4), 5, CPU), 0)
    assert black_and_white.min() > grey.max()


def test_a_conditioned_model_is_not_told_the_class(make_table: MakeTable) -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    table = make_table(IMAGES, 4)
    got = nll(model, Batches(table, 7, CPU), 0)
    noise = content_noise(IMAGES >> 4, key(0, "score"))
    with torch.no_grad():
        each = [model.log_prob(IMAGES >> 4, noise, torch.full((7,), k)).double().exp() for k in range(3)]
    # The probabilities of 64 dimensions of 4 bits stay within the range of float64.
    mixture = torch.stack(each).mean(dim=0)
    assert got.numpy() == pytest.approx(-np.log2(mixture.numpy()) / 64, rel=1e-6)
