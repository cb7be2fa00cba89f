"""Figures, tables and metrics at addresses of fsspec."""

import base64
import io
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import fsspec
import pandas as pd
import pytest
from kedro.io import DatasetError, Version
from kedro_datasets.json import JSONDataset
from PIL import Image

from glow_pipeline.datasets import PictureDataset, WholeFileDataset
from tests.datasets.test_picture import figure, movie

DAY = "2026-01-{:02}T00.00.00.000Z"


@pytest.fixture
def bucket() -> str:
    """A folder that no other test has, in the memory of this process."""
    return f"memory:///{uuid.uuid4().hex}"


def stored(bucket: str) -> set[str]:
    return {path.rpartition("/")[2] for path in fsspec.filesystem("memory").find(bucket)}


def picture(address: str, day: int = 1) -> PictureDataset:
    return PictureDataset(filepath=f"{address}/samples.png", version=Version(None, DAY.format(day)))


def metrics(address: str, day: int = 1, kind: str = "json.JSONDataset", **given: Any) -> WholeFileDataset:
    return WholeFileDataset(
        filepath=f"{address}/metrics", dataset={"type": kind}, version=Version(None, DAY.format(day)), **given
    )


def test_remote_animation_is_stored_with_its_frames(bucket: str) -> None:
    entry = picture(bucket)
    assert not entry.exists()
    entry.save(replace(movie(), keep_frames=True))
    assert entry.exists()
    frames = {f"frame_00{i}.png" for i in range(3)}
    assert stored(bucket) == {"samples.png", "samples.gif", "samples.mp4", *frames}
    assert len(fsspec.filesystem("memory").glob(f"{bucket}/samples.png/*/samples_frames/*.png")) == 3
    assert entry.load().size == (240, 120)
    with Image.open(io.BytesIO(base64.b64decode(entry.preview()))) as shown:
        assert shown.size == (240, 120)


def test_a_table_is_loaded_as_it_was_saved(bucket: str) -> None:
    scores = pd.DataFrame({"source": ["a", "b"], "score": [0.1, 1e-300]})
    entry = metrics(bucket, kind="pandas.ParquetDataset")
    entry.save(scores)
    pd.testing.assert_frame_equal(entry.load(), scores)


def test_the_newest_version_is_loaded(bucket: str) -> None:
    for day in (1, 2):
        metrics(bucket, day).save({"day": day})
    assert metrics(bucket, 3).load() == {"day": 2}
    assert metrics(bucket, 3).list_versions(full_path=False) == [DAY.format(2), DAY.format(1)]


def test_a_version_is_never_replaced(bucket: str) -> None:
    metrics(bucket).save({"day": 1})
    with pytest.raises(DatasetError, match="must not exist"):
        metrics(bucket).save({"day": 2})
    assert metrics(bucket).load() == {"day": 1}


def test_failed_save_stores_no_file(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(self: JSONDataset, data: object) -> NoReturn:
        Path(str(self._filepath)).write_text('{"a": ')
        raise RuntimeError("cut off")

    monkeypatch.setattr(JSONDataset, "save", cut_off)
    with pytest.raises(DatasetError, match="cut off"):
        metrics(bucket).save({"a": 1})
    assert stored(bucket) == set()
    assert not metrics(bucket).exists()


def test_a_file_address_is_the_local_file(tmp_path: Path) -> None:
    picture(tmp_path.as_uri()).save(figure())
    (file,) = tmp_path.glob("samples.png/*/*")
    assert file.name == "samples.png"
    assert picture(str(tmp_path)).load().size == (240, 120)


def test_credentials_and_fs_args_reach_the_file_system(bucket: str) -> None:
    entry = metrics(bucket, credentials={"key": "mine"}, fs_args={"client_kwargs": {"endpoint_url": "here"}})
    assert entry._fs.storage_options == {"key": "mine", "client_kwargs": {"endpoint_url": "here"}}
