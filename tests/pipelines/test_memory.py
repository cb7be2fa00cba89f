"""Nodes that need more memory than is available."""

from pathlib import Path

import pytest
import torch

from glow_pipeline.flow import Glow
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import NotEnoughMemoryError
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.parameters import OodParameters, SampleParameters, TrainParameters, WorkersParameters
from glow_pipeline.pipelines.sample.nodes import sample_images
from glow_pipeline.pipelines.scoring import carry_out, scoring_work
from glow_pipeline.sampling import RealImages
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from tests.conftest import MakeTable, jittered_glow, model_record, random_images


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(4), 4)


@pytest.mark.parametrize("n", [10**13, 10**18, 10**30])
def test_more_samples_than_memory_holds_are_one_line(n: int) -> None:
    model, none = TrainedGlow(jittered_glow(), model_record()), RealImages.none((1, 8, 8))
    with pytest.raises(NotEnoughMemoryError) as error:
        sample_images(model, none, SampleParameters(n=n), TrainParameters(), 0, "cpu")
    assert str(error.value) == f"sample.n={n}: memory does not suffice; lower it, or sample.frames=40"


def test_exhausted_memory_while_scoring_is_one_line(
    table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = TrainedGlow(jittered_glow(), model_record())
    detector = Detector.without_scores(weights_sha256(model.flow.state_dict()))
    ood, workers = OodParameters(scores=["nll"], score="nll"), WorkersParameters()
    work = scoring_work(model, detector, OtherModels(), [table], tmp_path, ood, TrainParameters(), 0, "cpu", workers)
    monkeypatch.setattr(Glow, "log_prob", full)
    with pytest.raises(NotEnoughMemoryError) as error:
        carry_out(work, tmp_path, ood.devices, workers)
    assert str(error.value) == "ood.batch_size=256: memory does not suffice; lower it"
