from pathlib import Path

import pytest
from kedro.io import DatasetError

from glow_pipeline.datasets import FolderDataset


def test_a_folder_is_loaded_as_its_path(tmp_path: Path) -> None:
    entry = FolderDataset(filepath=str(tmp_path / "raw"))
    assert entry.load() == tmp_path / "raw"
    assert not entry.exists()
    (tmp_path / "raw").mkdir()
    assert entry.exists()


def test_a_folder_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="write into that folder"):
        FolderDataset(filepath=str(tmp_path)).save(tmp_path)  # type: ignore[arg-type]  # which it refuses
