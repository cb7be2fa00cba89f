import logging

import pytest
import torch

from glow_pipeline import density
from glow_pipeline.flow import Glow
from glow_pipeline.parameters import OodParameters
from glow_pipeline.pipelines import scoring
from glow_pipeline.pipelines.scoring import images_at_once
from tests.conftest import jittered_glow
from tests.fake_gpu import CUDA, fake_gpu


def test_chosen_number_is_logged_once_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(density, "available_bytes", lambda _: 80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H200")
    scoring._announce.cache_clear()
    with fake_gpu(monkeypatch), CUDA:
        model = Glow((3, 32, 32), K=1, L=2, hidden_channels=8)
    with caplog.at_level(logging.INFO):
        assert images_at_once(model, OodParameters(batch_size=8)) == 8
        assert [images_at_once(model, OodParameters()) for _ in range(2)] == [4096, 4096]
    assert caplog.messages == ["ood.batch_size=null: 4,096 images are scored at once on cuda (H200)"]


def test_number_on_a_cpu_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert images_at_once(jittered_glow(), OodParameters()) == 256
    assert not caplog.messages
