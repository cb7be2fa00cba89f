import numpy as np
import pytest
import torch

from glow_pipeline.density import ModelledBatch
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.scores.waic import Waic
from glow_pipeline.outliers.scoring import score_table
from glow_pipeline.randomness import key
from tests.conftest import MakeTable, jittered_glow, random_images

IMAGES = random_images(7)


def test_waic_is_variance_minus_mean_over_models(make_table: MakeTable) -> None:
    models = (jittered_glow(), jittered_glow(K=2), jittered_glow(hidden_channels=6))
    score = Waic().with_models(OtherModels(ensemble=models))
    got = score_table(models[0], Batches(make_table(IMAGES, 4), 3, torch.device("cpu")), [score], 5)["waic_nats"]
    noise = content_noise(IMAGES >> 4, key(5, "score"))
    for i in range(7):
        with torch.no_grad():
            each = [float(model.log_prob(IMAGES[i : i + 1] >> 4, noise[i : i + 1])) for model in models]
        mean = sum(each) / 3
        assert got[i] == pytest.approx(sum((log_p - mean) ** 2 for log_p in each) / 3 - mean, rel=1e-4)


def test_disagreement_of_models_is_outlying() -> None:
    agreeing, disagreeing = Waic().score(np.array([[-100.0, -100.0], [-90.0, -110.0]]))
    assert disagreeing > agreeing


@pytest.mark.parametrize("n", [0, 1])
def test_waic_of_fewer_than_two_models_is_refused(n: int) -> None:
    model = jittered_glow()
    batch = ModelledBatch(model, IMAGES >> 4, torch.zeros(7).long(), torch.zeros(IMAGES.shape))
    with pytest.raises(ValueError, match=rf"^waic: has {n} models"):
        Waic((model,) * n).describe(batch)
