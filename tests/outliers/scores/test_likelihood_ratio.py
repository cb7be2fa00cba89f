import math

import numpy as np
import pytest
import torch

from glow_pipeline.density import ModelledBatch
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.scores.likelihood_ratio import LikelihoodRatio
from glow_pipeline.outliers.scores.nll import NegativeLogLikelihood
from glow_pipeline.outliers.scoring import score_table
from glow_pipeline.randomness import key
from tests.conftest import MakeTable, jittered_glow, random_images

IMAGES = random_images(7)


def test_likelihood_ratio_is_of_the_same_dequantized_images(make_table: MakeTable) -> None:
    model, background = jittered_glow(), jittered_glow(K=2)
    score = LikelihoodRatio().with_models(OtherModels(background))
    got = score_table(model, Batches(make_table(IMAGES, 4), 3, torch.device("cpu")), [score], 5)
    noise = content_noise(IMAGES >> 4, key(5, "score"))
    with torch.no_grad():
        log_p, log_q = (each.log_prob(IMAGES >> 4, noise).numpy().astype(np.float64) for each in (model, background))
    assert got["likelihood_ratio_bits_per_dim"] == pytest.approx((log_q - log_p) / 64 / math.log(2), rel=1e-6)


def test_likelihood_ratio_to_the_model_itself_is_zero(make_table: MakeTable) -> None:
    model = jittered_glow()
    scores = [NegativeLogLikelihood(), LikelihoodRatio().with_models(OtherModels(model))]
    got = score_table(model, Batches(make_table(IMAGES, 4), 3, torch.device("cpu")), scores, 0)
    assert got["likelihood_ratio_bits_per_dim"].tolist() == [0.0] * 7


def test_likelihood_ratio_without_background_is_refused() -> None:
    batch = ModelledBatch(jittered_glow(), IMAGES >> 4, torch.zeros(7).long(), torch.zeros(IMAGES.shape))
    with pytest.raises(ValueError, match=r"^likelihood_ratio: has no background model"):
        LikelihoodRatio().describe(batch)
