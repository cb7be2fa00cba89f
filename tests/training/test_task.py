"""The task of a training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.images.parts import split_parts
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.parameters import Parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.resume import ClaimedTraining
from glow_pipeline.training.task import TrainingTask
from tests.conftest import MakeTable, random_images
from tests.training.helpers import checkpoint_record


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(24), 4)


def test_new_training_has_a_folder_and_no_start(table: ImageTable, tmp_path: Path) -> None:
    task = TrainingTask(table, table, Parameters(), Provenance())
    assert task.claimed(ClaimedTraining(TrainingFolder(tmp_path))).folder == tmp_path
    assert task.claimed(ClaimedTraining(TrainingFolder(tmp_path))).start is None
    assert task.claimed(ClaimedTraining(None)).folder is None


def test_calibration_images_are_counted_for_themselves(table: ImageTable) -> None:
    parts = split_parts(table, 25.0, 12.5, 0)
    task = TrainingTask(
        parts.fit, parts.validation, Parameters(), Provenance(), calibration_images=parts.calibration, test_images=table
    )
    assert task.n_images == {"training": 15, "validation": 6, "calibration": 3, "testing": 24}
    assert task.parts == parts
    without = replace(task, calibration_images=split_parts(table, 25.0, 0.0, 0).calibration)
    assert "calibration" not in without.n_images
    assert task.trained_on is not None
    assert not set(parts.calibration.table.content_hashes) & set(task.trained_on)


def test_some_validation_images_are_scored_each_epoch(table: ImageTable) -> None:
    def task(most: int | None, seed: int = 0) -> TrainingTask:
        parameters = Parameters.model_validate({"seed": seed, "ingest": {"val_images": most}})
        return TrainingTask(table, table.subset(np.arange(4, 24)), parameters, Provenance())

    assert [len(task(most).scored_val_images) for most in (None, 99, 20, 7)] == [20, 20, 20, 7]
    drawn = list(task(7).scored_val_images.rows)
    assert drawn == sorted(set(drawn))
    assert min(drawn) >= 4
    assert drawn != list(range(4, 11))
    assert drawn == list(task(7).scored_val_images.rows)
    assert drawn != list(task(7, seed=1).scored_val_images.rows)
    assert task(7).n_images == {"training": 24, "validation (7 after each epoch)": 20}
    trained_on = task(7).trained_on
    assert trained_on is not None
    assert len(trained_on) == 24, "none of the others counts as unseen"


def test_resuming_with_other_images_is_refused(table: ImageTable, tmp_path: Path) -> None:
    def claimed(before: dict[str, Any]) -> TrainingTask:
        record = checkpoint_record(train_table=TableRecord.model_validate(before))
        start = Checkpoint({}, record, tmp_path / "step")
        task = TrainingTask(table, table, Parameters(), Provenance())
        return task.claimed(ClaimedTraining(TrainingFolder(tmp_path), start))

    same = table.record.model_dump(mode="json")
    assert claimed(same).start == tmp_path / "step"
    assert claimed({**same, "unreadable": {"a.png": "why"}}).start is not None, "what was left out follows from files"
    with pytest.raises(GlowPipelineError) as refused:
        claimed({**same, "source_files": {"tiny.bin": "0" * 64}})
    assert str(refused.value) == (
        f"{tmp_path / 'step'}: its training started with other images than there are now (source_files changed); bring "
        f"those back, or start a new one with train.resume=never"
    )


def test_resuming_from_another_first_model_is_refused(table: ImageTable, tmp_path: Path) -> None:
    first, train = tmp_path / "first.safetensors", Parameters().train
    first.write_bytes(b"now")
    parameters = Parameters(train=train.model_copy(update={"checkpoint": str(first)}))

    def claimed(started_from: str) -> TrainingTask:
        record = checkpoint_record(train_table=table.record, started_from=started_from)
        start = Checkpoint({}, record, tmp_path / "step")
        task = TrainingTask(table, table, parameters, Provenance())
        return task.claimed(ClaimedTraining(TrainingFolder(tmp_path), start))

    assert claimed(f"elsewhere.safetensors sha256:{sha256(first)}").start is not None
    with pytest.raises(GlowPipelineError) as refused:
        claimed("first.safetensors sha256:before")
    assert str(refused.value) == (
        f"train.checkpoint={first}: {first} is another model than the one that {tmp_path / 'step'} started from "
        f"(first.safetensors sha256:before); bring that one back, or start a new training with train.resume=never"
    )
