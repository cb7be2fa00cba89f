"""Tables of the same origin share their files."""

import json
import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_files import CONTENT, FEW_NAMES, IMAGES, LABELS, RECORD
from glow_pipeline.images.table_writer import TableWriter, plan_table
from tests.conftest import MakeSource, random_images
from tests.datasets.tiny_tables import (
    IMAGES_IN,
    SMALL,
    dataset,
    ended,
    folder_of,
    needs_fork,
    not_decodable,
    reading,
    started,
    version,
)
from tests.images.pictures import encoded


def test_table_of_the_same_origin_is_linked(plan: TableWriter, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(not_decodable(plan))
    first, second = folder_of(tmp_path, 1), folder_of(tmp_path, 2)
    assert sorted(file.name for file in second.iterdir()) == sorted([CONTENT, IMAGES, LABELS, RECORD])
    for file in second.iterdir():
        assert file.stat().st_ino == (first / file.name).stat().st_ino
    assert dataset(tmp_path, 3).load().folder == second


def test_findings_of_new_and_linked_tables_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "set").mkdir()
    for name in ("a", "b"):
        (tmp_path / "set" / f"{name}.png").write_bytes(encoded(np.zeros((4, 4, 4), dtype=np.uint8), "PNG"))
    images = ImageSelection.of_folder(str(tmp_path / "set"), str(tmp_path / "set"), 10.0, 0)
    with caplog.at_level(logging.INFO, "glow_pipeline"):
        for day in (1, 2):
            dataset(tmp_path, day).save(plan_table(images, "test", SMALL, tmp_path))
    said = f"{images.key} test: 2 images with transparent pixels, shown on white (ingest.background)"
    assert caplog.messages == [said, said]


def test_older_version_of_the_same_origin_is_linked(plan: TableWriter, make_source: MakeSource, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    for day, content in ((2, b"two"), (3, b"three")):
        other = plan_table(make_source(random_images(6, seed=day), content=content), "train", SMALL, tmp_path)
        dataset(tmp_path, day).save(other)
    dataset(tmp_path, 4).save(not_decodable(plan))
    assert folder_of(tmp_path, 4).joinpath(IMAGES).samefile(folder_of(tmp_path, 1) / IMAGES)
    newest = dataset(tmp_path, 5).load()
    assert newest.folder == folder_of(tmp_path, 4)
    assert torch.equal(newest[:][0], prepare(IMAGES_IN, SMALL))


def test_linked_table_keeps_its_names(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("b.png", "a.png"):
        Image.new("L", (3, 3)).save(pictures / name)
    images = ImageSelection.of_folder(str(pictures), str(pictures), 10.0, 0)
    plan = plan_table(images, "test", SMALL, tmp_path)
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(not_decodable(plan))
    assert folder_of(tmp_path, 2).joinpath(FEW_NAMES).samefile(folder_of(tmp_path, 1) / FEW_NAMES)
    assert list(dataset(tmp_path, 2).load().names or ()) == ["a.png", "b.png"]


def test_table_of_a_moved_folder_is_linked(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("L", (3, 3), len(name)).save(tmp_path / "pictures" / name)
    before = ImageSelection.of_folder(str(tmp_path / "pictures"), str(tmp_path / "pictures"), 10.0, 0)
    dataset(tmp_path, 1).save(plan_table(before, "test", SMALL, tmp_path))
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "notes.txt").write_text("no picture")
    after = ImageSelection.of_folder(str(tmp_path / "elsewhere"), str(tmp_path / "elsewhere"), 10.0, 0, name="pictures")
    dataset(tmp_path, 2).save(not_decodable(plan_table(after, "test", SMALL, tmp_path)))
    assert folder_of(tmp_path, 2).joinpath(IMAGES).samefile(folder_of(tmp_path, 1) / IMAGES)
    old, new = (ImageTable(folder_of(tmp_path, day)).record for day in (1, 2))
    assert (old.image_selection, old.passed_over) == (before, {})
    assert (new.image_selection, new.passed_over) == (after, {".txt": 1})
    assert old.source_files == new.source_files


def test_a_linked_table_outlives_the_first(plan: TableWriter, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(plan)
    for file in folder_of(tmp_path, 1).iterdir():
        file.unlink()
    assert torch.equal(dataset(tmp_path, 2).load()[:][0], prepare(IMAGES_IN, SMALL))


def test_changed_source_is_decoded_again(plan: TableWriter, make_source: MakeSource, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    changed = random_images(6, seed=1)
    dataset(tmp_path, 2).save(plan_table(make_source(changed, content=b"two"), "train", SMALL, tmp_path))
    assert torch.equal(dataset(tmp_path, 3).load()[:][0], prepare(changed, SMALL))
    assert not folder_of(tmp_path, 2).joinpath(IMAGES).samefile(folder_of(tmp_path, 1) / IMAGES)


@pytest.mark.parametrize("record", [None, "", "{}", '{"source": "tiny", "split": "train", "count": 6}'])
def test_version_with_another_record_is_ignored(plan: TableWriter, tmp_path: Path, record: str | None) -> None:
    """As older releases wrote it, in the same place."""
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(plan)
    file = folder_of(tmp_path, 2) / RECORD
    file.unlink()
    if record is not None:
        file.write_text(record)
    dataset(tmp_path, 3).save(not_decodable(plan))
    assert dataset(tmp_path, 4).load().folder == folder_of(tmp_path, 3)


def test_files_are_copied_where_links_are_not_possible(
    plan: TableWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError("no links here")

    dataset(tmp_path, 1).save(plan)
    monkeypatch.setattr("os.link", refuse)
    dataset(tmp_path, 2).save(not_decodable(plan))
    assert torch.equal(dataset(tmp_path, 2).load()[:][0], prepare(IMAGES_IN, SMALL))


@needs_fork
def test_simultaneous_saves_decode_once(plan: TableWriter, tmp_path: Path) -> None:
    days = (1, 2, 3)
    barrier: Barrier = multiprocessing.get_context("fork").Barrier(len(days))
    decoded = tmp_path / "decoded"
    decoded.mkdir()

    def slow() -> Iterator[Tensor]:
        (decoded / str(os.getpid())).touch()
        for image in IMAGES_IN.split(1):
            time.sleep(0.05)
            yield image

    def save(day: int) -> None:
        barrier.wait(120)
        dataset(tmp_path, day).save(reading(plan, slow))

    processes = [started(lambda day=day: save(day)) for day in days]  # type: ignore[misc]
    assert [ended(process) for process in processes] == [0] * len(days)
    assert len(list(decoded.iterdir())) == 1
    assert dataset(tmp_path, 9).list_versions(full_path=False) == [version(day) for day in reversed(days)]
    for day in days:
        folder = folder_of(tmp_path, day)
        assert list(folder.parent.iterdir()) == [folder]
        assert json.loads((folder / RECORD).read_text())["count"] == 6
        assert np.array_equal(np.load(folder / IMAGES), prepare(IMAGES_IN, SMALL).numpy())
        assert np.load(folder / LABELS).tolist() == [0, 1, 2, 0, 1, 2]
