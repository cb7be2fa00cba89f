import pytest
import torch

from glow_pipeline.flow.level import Level
from glow_pipeline.outliers.other_models import OtherModels
from tests.conftest import jittered_glow


def test_parameters_are_folded_once_for_all_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[Level] = []
    prepare = Level.prepare

    def noted(level: Level) -> None:
        folded.append(level)
        prepare(level)

    monkeypatch.setattr(Level, "prepare", noted)
    background, member = jittered_glow(), jittered_glow(K=2)
    images, noise = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.full((2, 1, 8, 8), 0.5)
    with torch.no_grad():
        expected = [model.log_prob(images, noise) for model in (background, member)]
        with OtherModels(background, (member,)).on(torch.device("cpu")) as others:
            assert len(folded) == 4
            for model, log_prob in zip((others.background, *others.ensemble), expected, strict=True):
                assert model is not None
                assert torch.equal(model.log_prob(images, noise), log_prob)
    assert [level._kept for model in (background, member) for level in model.levels] == [None] * 4
