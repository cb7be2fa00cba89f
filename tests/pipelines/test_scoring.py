import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from glow_pipeline import density
from glow_pipeline.errors import GlowPipelineError, HelperFinished
from glow_pipeline.flow import Glow
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.score_parts import ScoreParts
from glow_pipeline.outliers.score_table import ScoreTable
from glow_pipeline.parameters import OodParameters, TrainParameters, WorkersParameters
from glow_pipeline.pipelines import scoring
from glow_pipeline.pipelines.scoring import carry_out, images_at_once, scoring_work
from glow_pipeline.stores import FolderStore
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from tests.conftest import MakeTable, jittered_glow, model_record, random_images
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


def test_limited_memory_gives_a_power_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H200")
    with fake_gpu(monkeypatch), CUDA:
        model = Glow((3, 32, 32), K=2, L=2, hidden_channels=128)
    for free, n in ((10**5, 1), (2**30, 256), (80 * 2**30, 4096)):
        monkeypatch.setattr(density, "available_bytes", lambda _, free=free: free)
        assert images_at_once(model, OodParameters()) == n


def test_number_on_a_cpu_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert images_at_once(jittered_glow(), OodParameters()) == 256
    assert not caplog.messages


NLL = OodParameters(scores=["nll"], score="nll", batch_size=4)


@pytest.fixture
def images(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(30), 4)


def work(images: ImageTable, progress: Path, workers: WorkersParameters, **changed: object) -> ScoreParts:
    model = TrainedGlow(jittered_glow(), model_record())
    detector = Detector.without_scores(weights_sha256(model.flow.state_dict()))
    given: dict[str, Any] = {"ood": NLL, "train": TrainParameters(threads=1), "seed": 0, "device": "cpu"}
    tables = [images, images.subset(np.arange(7))]
    return scoring_work(model, detector, OtherModels(), tables, progress, workers=workers, **{**given, **changed})


def test_small_tables_are_scored_without_a_trace(images: ImageTable, tmp_path: Path) -> None:
    progress, workers = tmp_path / "progress", WorkersParameters()
    inside, outside = carry_out(work(images, progress, workers), progress, 2, workers)
    assert (len(inside), len(outside)) == (30, 7)
    assert not progress.exists()


def test_same_command_finds_its_scores_again(
    images: ImageTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workers = WorkersParameters(part_images=8)
    first = carry_out(work(images, tmp_path / "progress", workers), tmp_path / "progress", 1, workers)
    with caplog.at_level(logging.INFO):
        again = carry_out(work(images, tmp_path / "progress", workers), tmp_path / "progress", 1, workers)
    (line,) = caplog.messages
    assert line.startswith("score tiny and tiny: 37 of 37 images were scored before with the same model")
    in_memory = carry_out(work(images, tmp_path, WorkersParameters()), tmp_path, 1, WorkersParameters())
    for scored in (first, again):
        for one, other in zip(scored, in_memory, strict=True):
            pd.testing.assert_frame_equal(cast(pd.DataFrame, one), cast(pd.DataFrame, other), check_exact=True)


@pytest.mark.parametrize("changed", [
    {"seed": 1},
    {"ood": NLL.model_copy(update={"batch_size": 5})},
    {"ood": NLL.model_copy(update={"draws": 2})},
    {"ood": NLL.model_copy(update={"scores": ["nll", "input_complexity"]})},
])  # fmt: skip
def test_parts_belong_to_what_scores_depend_on(images: ImageTable, tmp_path: Path, changed: dict[str, object]) -> None:
    workers = WorkersParameters(part_images=8)
    stores, others = (work(images, tmp_path, workers, **each).stores for each in ({}, changed))
    assert len({store.folder for store in (*stores, *others)}) == 4
    assert work(images, tmp_path, WorkersParameters(part_images=9)).stores == stores


def test_commands_of_an_array_share_both_tables(
    images: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workers = WorkersParameters(engine="array", of=3, part_images=8)
    with caplog.at_level(logging.INFO):
        for rank in (2, 0):
            monkeypatch.setenv("NODE_RANK", str(rank))
            with pytest.raises(HelperFinished):
                carry_out(work(images, tmp_path / "progress", workers), tmp_path / "progress", 1, workers)
    assert [line for line in caplog.messages if line.startswith("This machine has helped")]
    monkeypatch.setenv("NODE_RANK", "1")
    shared = carry_out(work(images, tmp_path / "progress", workers), tmp_path / "progress", 1, workers)
    alone = carry_out(work(images, tmp_path, WorkersParameters()), tmp_path, 1, WorkersParameters())
    for one, other in zip(shared, alone, strict=True):
        pd.testing.assert_frame_equal(cast(pd.DataFrame, one), cast(pd.DataFrame, other), check_exact=True)


@dataclass(frozen=True)
class Emptied(FolderStore):
    """A store whose files another command removes at once."""

    def put(self, name: str, written: Path) -> None:
        del name
        written.unlink()


def test_scores_that_vanish_are_reported(images: ImageTable, tmp_path: Path) -> None:
    workers = WorkersParameters(part_images=32)
    emptied = replace(work(images, tmp_path, workers), stores=[Emptied(tmp_path / name) for name in "ab"])
    with pytest.raises(GlowPipelineError, match="scores that were just stored there are gone; type the same command"):
        carry_out(emptied, tmp_path, 1, workers)


def test_array_names_parts_that_do_not_count(
    images: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NODE_RANK", "0")
    workers = WorkersParameters(engine="array", of=2, part_images=8)
    for size in (4, 5):
        own = work(images, tmp_path, workers, ood=NLL.model_copy(update={"batch_size": size}))
        with pytest.raises(HelperFinished):
            carry_out(own, tmp_path, 1, workers)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "other commands make its parts with batch_size=4, and this one with batch_size=5" in line


def test_many_rows_stay_on_disk(images: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = WorkersParameters(part_images=8)
    monkeypatch.setattr(scoring, "MOST_IN_MEMORY", 10)
    inside, outside = carry_out(work(images, tmp_path, workers), tmp_path, 1, workers)
    assert isinstance(inside, ScoreTable)
    assert isinstance(outside, pd.DataFrame)
    assert [len(frame) for frame in inside.frames()] == [8, 8, 8, 6]
