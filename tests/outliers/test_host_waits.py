"""While a GPU scores, the host launches one batch after the other and waits for none."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, modelled_batches
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batch
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap
from glow_pipeline.outliers.reasons import Reasons
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scoring import Describer, _described_on_device
from glow_pipeline.outliers.statistics import codecs
from tests.fake_gpu import CUDA, HostWaits, fake_gpu

BY_GRADIENTS = ("gradient", "gradient_input")  # fake tensors cannot: tests/test_gpu.py
DESCRIBERS: list[Describer] = [*(s for s in SCORES.values() if not s.needs and s.name not in BY_GRADIENTS), Reasons()]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostWaits]:
    def compressed(batch: ModelledBatch) -> Tensor:
        (images,) = batch.once_for_images(codecs.host_copy).get()
        assert images.device.type == "cpu"
        return torch.zeros(len(images), dtype=torch.float64, device=CUDA)  # no codec takes fake tensors

    monkeypatch.setattr(codecs, "compressed_bits", compressed)
    with fake_gpu(monkeypatch) as waits:
        yield waits


def batches(waits: HostWaits, channels: int) -> tuple[Glow, list[Batch]]:
    with CUDA:
        model = Glow((channels, 16, 16), K=2, L=2, hidden_channels=8)
        batch = Batch(torch.zeros(4, channels, 16, 16, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    waits.seen.clear()  # those of making the flow
    return model, [batch, batch]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("describer", DESCRIBERS, ids=lambda describer: describer.name)
def test_host_does_not_wait_for_descriptions(waits: HostWaits, describer: Describer, channels: int) -> None:
    model, given = batches(waits, channels)
    described = list(_described_on_device(model, given, [describer], 0, 2, None))
    assert len(described) == 2
    assert all(copy.under_way for copy in described)
    assert not waits.seen


def test_host_does_not_wait_for_heat_maps(waits: HostWaits) -> None:
    model, given = batches(waits, 3)
    fitted = {"level_mean": np.zeros(2), "level_sd": np.ones(2), "usual": np.zeros((16, 16))}
    for batch in modelled_batches(model, given, 0, None, traces=True):
        raw = HeatMap(fitted).raw(batch)
        assert (raw.device.type, raw.dtype) == ("cuda", torch.float64)
    assert not waits.seen
