import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.scores.nll import NegativeLogLikelihood
from glow_pipeline.outliers.scoring import score_table
from glow_pipeline.randomness import key
from tests.conftest import MakeTable, jittered_glow, random_images

CPU = torch.device("cpu")
IMAGES = random_images(7)


def nll(model: Glow, table: ImageTable, seed: int = 0, batch_size: int = 7) -> NDArray[np.float64]:
    """Score a table by the negative log-likelihood alone."""
    return score_table(model, Batches(table, batch_size, CPU), [NegativeLogLikelihood()], seed)["nll_bits_per_dim"]


def test_nll_is_bits_a_dimension(make_table: MakeTable) -> None:
    model = jittered_glow()
    noise = content_noise(IMAGES >> 4, key(5, "score"))
    with torch.no_grad():
        nats = model.log_prob(IMAGES >> 4, noise).numpy().astype(np.float64)
    got = nll(model, make_table(IMAGES, 4), seed=5)
    assert got.dtype == np.float64
    assert got == pytest.approx(-nats / math.log(2) / 64, rel=1e-12)


def test_improbable_images_score_higher(make_table: MakeTable) -> None:
    # An untrained flow is nearly a Gaussian around mid-grey, so black-and-white images are far out.
    model = jittered_glow()
    grey = nll(model, make_table(random_images(5) // 8 + 112, 4))
    black_and_white = nll(model, make_table(random_images(5).gt(127).to(torch.uint8) * 255, 4))
    assert black_and_white.min() > grey.max()


def test_conditioned_model_is_not_given_the_class(make_table: MakeTable) -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    got = nll(model, make_table(IMAGES, 4))
    noise = content_noise(IMAGES >> 4, key(0, "score"))
    with torch.no_grad():
        each = [model.log_prob(IMAGES >> 4, noise, torch.full((7,), k)).double().exp() for k in range(3)]
    # The probabilities of 64 dimensions of 4 bits stay within the range of float64.
    mixture = torch.stack(each).mean(dim=0)
    assert got == pytest.approx(-np.log2(mixture.numpy()) / 64, rel=1e-6)
