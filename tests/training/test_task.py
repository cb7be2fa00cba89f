"""The task of a training."""

from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.records import Provenance
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
