"""Image tables as they are saved and loaded."""

import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from kedro.io import DatasetError, Version
from torch import Tensor

from glow_pipeline.datasets import ImageTableDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.ingest_parts import scratch_of_machine
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table_files import IMAGES
from glow_pipeline.images.table_writer import TableWriter, plan_table
from tests.conftest import MakeSource
from tests.datasets.tiny_tables import (
    IMAGES_IN,
    LARGE,
    SMALL,
    assert_no_table,
    dataset,
    ended,
    folder_of,
    needs_fork,
    not_decodable,
    reading,
    started,
    version,
)


def test_a_saved_plan_is_loaded_as_a_table(plan: TableWriter, tmp_path: Path) -> None:
    entry = dataset(tmp_path, 1)
    assert not entry.exists()
    entry.save(plan)
    assert entry.exists()
    table = entry.load()
    assert table.folder == folder_of(tmp_path, 1)
    assert table.record.origin == plan.origin
    assert torch.equal(table[:][0], prepare(IMAGES_IN, SMALL))


# Formats and versions --------------------------------------------------------------------------


def test_two_formats_never_share_a_version(make_source: MakeSource, tmp_path: Path) -> None:
    images = make_source(IMAGES_IN)
    dataset(tmp_path, 1, SMALL).save(plan_table(images, "train", SMALL, tmp_path))
    assert not dataset(tmp_path, 2, LARGE).exists()
    dataset(tmp_path, 2, LARGE).save(plan_table(images, "train", LARGE, tmp_path))
    assert dataset(tmp_path, 3, SMALL).load().record.image_format == SMALL
    assert dataset(tmp_path, 3, LARGE).load().record.image_format == LARGE


def test_format_key_has_every_part() -> None:
    specs = [SMALL] + [
        ImageFormat.model_validate({**SMALL.model_dump(), **other})
        for other in ({"channels": 3}, {"height": 8}, {"width": 8}, {"n_bits": 5}, {"fit": "pad"})
    ]
    assert len({image_format.key for image_format in specs}) == len(specs)


def test_each_format_has_its_own_newest_version(make_source: MakeSource, tmp_path: Path) -> None:
    images = make_source(IMAGES_IN)
    dataset(tmp_path, 1, SMALL).save(plan_table(images, "train", SMALL, tmp_path))
    dataset(tmp_path, 2, LARGE).save(plan_table(images, "train", LARGE, tmp_path))
    entry = dataset(tmp_path, 3, SMALL)
    assert entry.load().folder == folder_of(tmp_path, 1, SMALL)
    entry.identify(LARGE)
    assert entry.load().folder == folder_of(tmp_path, 2, LARGE)
    entry.identify(SMALL.model_copy(update={"n_bits": 1}))
    assert not entry.exists()


def test_older_version_can_be_requested(plan: TableWriter, make_source: MakeSource, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(plan_table(make_source(IMAGES_IN, content=b"two"), "train", SMALL, tmp_path))
    old = ImageTableDataset(filepath=str(tmp_path / "tiny" / "train"), version=Version(version(1), None))
    old.identify(SMALL)
    assert old.load().record.origin == plan.origin


def test_table_without_a_format_is_an_error(plan: TableWriter, tmp_path: Path) -> None:
    entry = ImageTableDataset(filepath=str(tmp_path / "train"), version=Version(None, version(1)))
    assert not entry.exists()
    with pytest.raises(DatasetError, match="no image format was given"):
        entry.load()
    with pytest.raises(DatasetError, match="no image format was given"):
        entry.save(plan)


# Errors and interrupted tables -----------------------------------------------------------------


@pytest.mark.parametrize("both", [False, True])
def test_both_splits_are_listed_if_requested(tmp_path: Path, both: bool) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (pictures / name).write_bytes(name.encode())
    images = ImageSelection.of_folder(str(pictures), None, 50.0, 0)
    entry = dataset(tmp_path, 1)
    entry.lists_both_splits = both
    with pytest.raises(DatasetError) as raised:
        entry.save(plan_table(images, "train", SMALL, tmp_path))
    assert ("4 unreadable files" in str(raised.value.__cause__)) == both


def test_interrupted_table_is_not_a_version(plan: TableWriter, tmp_path: Path) -> None:
    def half() -> Iterator[Tensor]:
        yield IMAGES_IN[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset(tmp_path, 1).save(reading(plan, half))
    assert_no_table(tmp_path)
    assert list(folder_of(tmp_path, 1).parent.iterdir()) == []
    dataset(tmp_path, 2).save(plan)


def test_refused_table_is_not_a_version(plan: TableWriter, tmp_path: Path) -> None:
    """Its line reaches the user as the cause of Kedro's error."""
    with pytest.raises(DatasetError) as raised:
        dataset(tmp_path, 1).save(reading(plan, lambda: iter([IMAGES_IN[:3]])))
    cause = raised.value.__cause__
    assert isinstance(cause, GlowPipelineError)
    assert "6 labels but 3 images" in str(cause)
    assert_no_table(tmp_path)
    assert list(folder_of(tmp_path, 1).parent.iterdir()) == []


def test_leftovers_of_killed_processes_are_swept(plan: TableWriter, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    remains = folder_of(tmp_path, 2).with_name(".0a1b2c3d.train")
    remains.mkdir(parents=True)
    np.save(remains / IMAGES, np.zeros(3))
    assert dataset(tmp_path, 3).load().folder == folder_of(tmp_path, 1)
    assert remains.exists()
    dataset(tmp_path, 3).save(not_decodable(plan))
    assert not remains.exists()
    assert dataset(tmp_path, 4).load().folder == folder_of(tmp_path, 3)


def test_old_scratch_folders_are_swept(plan: TableWriter, tmp_path: Path) -> None:
    tables = folder_of(tmp_path, 1).parents[1]
    own, none = scratch_of_machine(), 2**22 + 1  # a number that Linux gives no process
    live = [f"{own}{os.getpid()}-a", ".making-other-machine-1-b", f".making-{platform.node()}-1-{none}-container"]
    old, dead = ".making-other-machine-1-c", f"{own}{none}-a"
    for name in (*live, old, *([dead] if Path("/proc").is_dir() else [])):
        (tables / name).mkdir(parents=True)
        (tables / name / IMAGES).touch()
    for path in (tables / old / IMAGES, tables / old):
        os.utime(path, (0, 0))
    dataset(tmp_path, 1).save(plan)
    assert sorted(path.name for path in tables.glob(".making-*")) == sorted(live)


def test_sweep_removes_leftovers_alone(plan: TableWriter, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    beside = folder_of(tmp_path, 1).with_name("notes.train")
    of_another_split = folder_of(tmp_path, 1).parents[2] / "test" / version(1) / ".0a1b2c3d.test"
    for folder in (beside, of_another_split):
        folder.mkdir(parents=True)
    dataset(tmp_path, 2).save(plan)
    assert beside.exists()
    assert of_another_split.exists()  # a process may be writing there, under a lock of its own


def test_readers_never_see_an_incomplete_table(plan: TableWriter, tmp_path: Path) -> None:
    seen: list[bool] = []

    def watched() -> Iterator[Tensor]:
        for image in IMAGES_IN.split(2):
            seen.append(dataset(tmp_path, 2).exists())
            yield image

    dataset(tmp_path, 1).save(reading(plan, watched))
    assert seen == [False] * 3
    assert dataset(tmp_path, 2).exists()


@needs_fork
def test_killed_writer_leaves_no_version_and_no_lock(plan: TableWriter, tmp_path: Path) -> None:
    def deadly() -> Iterator[Tensor]:
        yield IMAGES_IN[:3]
        os.kill(os.getpid(), signal.SIGKILL)

    process = started(lambda: dataset(tmp_path, 1).save(reading(plan, deadly)))
    assert ended(process) == -signal.SIGKILL
    (remains,) = folder_of(tmp_path, 1).parent.iterdir()
    assert remains.name.startswith(".")
    assert_no_table(tmp_path)
    dataset(tmp_path, 2).save(plan)
    assert not remains.exists()
    assert dataset(tmp_path, 3).load().folder == folder_of(tmp_path, 2)
    assert torch.equal(dataset(tmp_path, 3).load()[:][0], prepare(IMAGES_IN, SMALL))
    dataset(tmp_path, 3).save(not_decodable(plan))
