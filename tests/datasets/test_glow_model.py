from pathlib import Path
from typing import NoReturn

import pytest
import torch
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import GlowModelDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.training import model_file
from glow_pipeline.training.model_file import TrainedGlow
from tests.conftest import jittered_glow, model_record


def dataset(folder: Path, day: int) -> GlowModelDataset:
    """The catalog's entry in the run of that day."""
    return GlowModelDataset(
        filepath=str(folder / "glow_model.safetensors"), version=Version(None, f"2026-01-{day:02}T00.00.00.000Z")
    )


def trained(epochs: int) -> TrainedGlow:
    return TrainedGlow(jittered_glow(), model_record().model_copy(update={"epochs": epochs}))


def test_model_is_loaded_as_saved(tmp_path: Path) -> None:
    entry, model = dataset(tmp_path, 1), trained(epochs=5)
    assert not entry.exists()
    entry.save(model)
    assert entry.exists()
    again = entry.load()
    assert again.record == model.record
    weights = again.flow.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.flow.state_dict().items())


def test_newest_model_is_loaded(tmp_path: Path) -> None:
    for day in (1, 2):
        dataset(tmp_path, day).save(trained(epochs=day))
    later = dataset(tmp_path, 3)
    assert later.load().record.epochs == later.record().epochs == 2
    assert (
        later.load_path == tmp_path / "glow_model.safetensors" / "2026-01-02T00.00.00.000Z" / "glow_model.safetensors"
    )
    assert later.filepath == tmp_path / "glow_model.safetensors"
    assert len(later.list_versions()) == 2


def test_the_record_is_read_without_building_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a flow was built")

    dataset(tmp_path, 1).save(trained(epochs=5))
    monkeypatch.setattr(model_file, "build_flow", refuse)
    assert dataset(tmp_path, 2).record().epochs == 5


def test_leftover_of_a_killed_process_is_ignored(tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(trained(epochs=5))
    folder = tmp_path / "glow_model.safetensors" / "2026-01-02T00.00.00.000Z"
    folder.mkdir()
    (folder / ".0a1b2c3d.glow_model.safetensors").write_bytes(b"half")
    assert dataset(tmp_path, 3).load().record.epochs == 5


def test_damaged_model_is_named(tmp_path: Path) -> None:
    entry = dataset(tmp_path, 1)
    entry.save(trained(epochs=5))
    path = entry.load_path
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(GlowPipelineError, match="not a complete safetensors file"):
        entry.record()
    with pytest.raises(DatasetError, match="not a complete safetensors file") as raised:
        entry.load()
    assert isinstance(raised.value.__cause__, GlowPipelineError)
    assert str(path) in str(raised.value)
