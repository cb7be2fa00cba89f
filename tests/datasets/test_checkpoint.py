from pathlib import Path
from typing import NoReturn

import pytest
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import CheckpointDataset
from glow_pipeline.datasets.checkpoint import CheckpointSlot
from glow_pipeline.training.stored import read_model, read_record
from tests.conftest import jittered_glow, model_record


@pytest.fixture
def slot(tmp_path: Path) -> CheckpointSlot:
    return CheckpointDataset(
        filepath=str(tmp_path / "checkpoint.safetensors"), version=Version(None, "2026-01-01T00.00.00.000Z")
    ).load()


def test_a_slot_is_a_place_under_the_version_of_this_run(slot: CheckpointSlot, tmp_path: Path) -> None:
    assert slot.path == tmp_path / "checkpoint.safetensors" / "2026-01-01T00.00.00.000Z" / "checkpoint.safetensors"
    assert not slot.path.exists()


def test_each_write_replaces_the_one_before(slot: CheckpointSlot) -> None:
    weights = jittered_glow().state_dict()
    for epochs in (1, 2):
        slot.write(model_record().model_copy(update={"epochs": epochs}), weights)
        assert read_record(slot.path).epochs == epochs
        assert list(slot.path.parent.iterdir()) == [slot.path]
    assert read_model(slot.path).flow.initialized


def test_a_write_that_fails_keeps_the_one_before(slot: CheckpointSlot, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(self: Path, content: bytes) -> NoReturn:
        self.touch()
        raise OSError("No space left on device")

    slot.write(model_record(), jittered_glow().state_dict())
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        slot.write(model_record().model_copy(update={"epochs": 9}), jittered_glow().state_dict())
    assert read_record(slot.path).epochs == 2
    assert list(slot.path.parent.iterdir()) == [slot.path]


def test_a_slot_cannot_be_saved(tmp_path: Path) -> None:
    entry = CheckpointDataset(filepath=str(tmp_path / "c.safetensors"), version=Version(None, None))
    with pytest.raises(DatasetError, match="load the slot"):
        entry.save(CheckpointSlot(tmp_path))  # type: ignore[arg-type]  # this is what it refuses


def test_another_run_has_another_slot(slot: CheckpointSlot, tmp_path: Path) -> None:
    slot.write(model_record(), jittered_glow().state_dict())
    later = CheckpointDataset(
        filepath=str(tmp_path / "checkpoint.safetensors"), version=Version(None, "2026-01-02T00.00.00.000Z")
    ).load()
    assert later.path != slot.path
    assert not later.path.exists()
