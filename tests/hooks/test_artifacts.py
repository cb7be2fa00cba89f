"""The files of a picture that the closing lines name and MLflow gets."""

import uuid
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from kedro.io import Version

from glow_pipeline.datasets import PictureDataset
from glow_pipeline.hooks.artifacts import artifact_files, artifact_places, stored_bytes
from tests.datasets.test_picture import figure, movie

VERSION = "2026-01-01T00.00.00.000Z"
BESIDE = ["samples.gif", "samples.mp4", "samples.png"]
FRAMES = ["frame_000.png", "frame_001.png", "frame_002.png"]


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory:///{uuid.uuid4().hex}"


def entry(folder: str) -> PictureDataset:
    return PictureDataset(filepath=f"{folder}/samples.png", version=Version(None, VERSION))


def test_animation_has_its_files_and_frames(folder: str) -> None:
    dataset = entry(folder)
    dataset.save(replace(movie(), keep_frames=True))
    assert [str(place).rpartition("/")[2] for place in artifact_places(dataset)] == [*BESIDE, "samples_frames"]
    with artifact_files(dataset) as files:
        assert [file.name for file in files] == [*BESIDE, "samples_frames"]
        assert all(file.stat().st_size > 0 for file in files[:-1])
        assert sorted(file.name for file in files[-1].iterdir()) == FRAMES


def test_animation_without_kept_frames_has_no_folder(folder: str) -> None:
    dataset = entry(folder)
    dataset.save(movie())
    assert [str(place).rpartition("/")[2] for place in artifact_places(dataset)] == BESIDE


def test_remote_places_are_addresses() -> None:
    folder = f"memory:///{uuid.uuid4().hex}"
    dataset = entry(folder)
    dataset.save(figure())
    (place,) = artifact_places(dataset)
    assert fsspec.filesystem("memory").exists(str(place))


def test_size_is_that_of_all_files(folder: str) -> None:
    dataset = entry(folder)
    dataset.save(movie())
    with artifact_files(dataset) as files:
        assert stored_bytes(dataset) == sum(file.stat().st_size for file in files)
