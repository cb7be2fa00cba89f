from dataclasses import dataclass
from pathlib import Path

import pytest
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import WrittenFolderDataset


@dataclass
class Writer:
    fails: bool = False

    def write(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "a.txt").write_text("a")
        if self.fails:
            raise RuntimeError("stopped")


@pytest.fixture
def entry(tmp_path: Path) -> WrittenFolderDataset:
    return WrittenFolderDataset(filepath=str(tmp_path / "maps"), version=Version(None, "v1"))


def test_folder_is_written_when_it_is_saved(entry: WrittenFolderDataset) -> None:
    assert not entry.exists()
    entry.save(Writer())
    assert entry.exists()
    assert [file.name for file in entry.load().iterdir()] == ["a.txt"]


def test_interrupted_writer_leaves_nothing(entry: WrittenFolderDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="stopped"):
        entry.save(Writer(fails=True))
    assert not entry.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
