import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import pytest
from kedro.io import AbstractDataset, DatasetError, Version
from kedro_datasets.json import JSONDataset

from glow_pipeline.datasets import WholeFileDataset
from glow_pipeline.errors import GlowPipelineError


def dataset(path: Path, day: int, kind: str = "json.JSONDataset", **options: Any) -> WholeFileDataset:
    return WholeFileDataset(
        filepath=str(path), dataset={"type": kind, **options}, version=Version(None, f"2026-01-{day:02}T00.00.00.000Z")
    )


def test_saved_data_is_loaded_and_alone(tmp_path: Path) -> None:
    entry = dataset(tmp_path / "metrics.json", 1)
    assert not entry.exists()
    entry.save({"auroc": 0.5})
    assert entry.exists()
    assert entry.load() == {"auroc": 0.5}
    path = tmp_path / "metrics.json" / "2026-01-01T00.00.00.000Z" / "metrics.json"
    assert list(path.parent.iterdir()) == [path]


def test_a_table_is_loaded_with_its_types(tmp_path: Path) -> None:
    scores = pd.DataFrame({"source": ["a", "b"], "is_out": [True, False], "score": [0.1, 1e-300]})
    entry = dataset(tmp_path / "scores.parquet", 1, "pandas.ParquetDataset")
    entry.save(scores)
    pd.testing.assert_frame_equal(entry.load(), scores)


def test_the_newest_version_is_loaded(tmp_path: Path) -> None:
    for day in (1, 2):
        dataset(tmp_path / "metrics.json", day).save({"day": day})
    assert dataset(tmp_path / "metrics.json", 3).load() == {"day": 2}


def test_options_reach_the_wrapped_dataset(tmp_path: Path) -> None:
    entry = dataset(tmp_path / "metrics.json", 1, save_args={"indent": 7})
    entry.save({"a": 1})
    (file,) = (tmp_path / "metrics.json").glob("*/metrics.json")
    assert file.read_text() == '{\n       "a": 1\n}'


def test_failed_write_leaves_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(self: JSONDataset, data: object) -> NoReturn:
        Path(str(self._filepath)).write_text('{"a": ')
        raise RuntimeError("cut off")

    entry = dataset(tmp_path / "metrics.json", 1)
    monkeypatch.setattr(JSONDataset, "save", cut_off)
    with pytest.raises(DatasetError, match="cut off"):
        entry.save({"a": 1})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not entry.exists()


def test_refused_data_leaves_no_version(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not JSON serializable"):
        dataset(tmp_path / "metrics.json", 1).save({"a": object()})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_description_names_the_wrapped_dataset(tmp_path: Path) -> None:
    assert "json.JSONDataset" in repr(dataset(tmp_path / "metrics.json", 1))


class OnFullDisk(AbstractDataset[Any, Any]):
    """A dataset that fails to write, as on a full disk."""

    def __init__(self, filepath: str) -> None:
        self._filepath = filepath

    def load(self) -> Any:
        raise NotImplementedError

    def save(self, data: Any) -> None:  # noqa: ARG002
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


def test_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    entry = WholeFileDataset(filepath=str(tmp_path / "metrics.json"), dataset={"type": OnFullDisk})
    with pytest.raises(DatasetError) as raised:
        entry.save({})
    assert isinstance(raised.value.__cause__, GlowPipelineError)
    assert "metrics.json: cannot be written (No space left on device); make room" in str(raised.value)
    assert list(tmp_path.iterdir()) == []
