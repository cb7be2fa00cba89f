"""Copies of tables on a disk of this machine."""

import hashlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images import staging
from glow_pipeline.images.staging import ROWS, stage_table
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_files import IMAGES, PARTS, PartFile, images_file, write_parts
from glow_pipeline.stores import FolderStore
from tests.conftest import MakeTable, random_images
from tests.processes import comes, ended

N, SIZES = 23, (10, 10, 3)


@dataclass(frozen=True)
class FarStore(FolderStore):
    """A folder that is not on a disk of this machine, and notes in a file what is fetched.

    Attributes:
        killed_at: the process is killed while it fetches this file, when it has stored the images before it.
    """

    notes: Path = Path()
    killed_at: str = ""

    @property
    def folder(self) -> None:  # type: ignore[override]
        return None

    def fetch(self, name: str, target: Path) -> None:
        with self.notes.open("a") as file:
            file.write(f"{name}\n")
        if name == self.killed_at:
            target.write_bytes((self.path / name).read_bytes()[:200])
            assert comes(lambda: (target.parent / ROWS).is_file() and (target.parent / ROWS).read_text())
            os.kill(os.getpid(), signal.SIGKILL)
        super().fetch(name, target)

    @property
    def fetched(self) -> list[str]:
        return [name for name in self.notes.read_text().split() if name.startswith("images")]


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(N), 4)


@pytest.fixture
def in_parts(table: ImageTable, tmp_path: Path) -> ImageTable:
    """The same table with its images in three files."""
    folder = shutil.copytree(table.folder, tmp_path / "parts")
    images = np.load(folder / IMAGES)
    (folder / IMAGES).unlink()
    parts, first = [], 0
    for part, count in enumerate(SIZES):
        path = folder / images_file(part)
        np.save(path, images[first : first + count])
        parts.append(PartFile(path.name, count, hashlib.sha256(path.read_bytes()).hexdigest()))
        first += count
    write_parts(folder / PARTS, parts)
    return ImageTable(folder)


@pytest.fixture(params=["one file", "several"])
def either(request: pytest.FixtureRequest, table: ImageTable, in_parts: ImageTable) -> ImageTable:
    return table if request.param == "one file" else in_parts


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PIECE", 64 * 10)
    monkeypatch.setattr(staging, "BLOCK", 64 * 4)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("far", [False, True])
def test_copy_is_the_table_in_one_file(table: ImageTable, either: ImageTable, tmp_path: Path, far: bool) -> None:
    source = ImageTable(either.folder, store=FarStore(either.folder, tmp_path / "notes") if far else None)
    copy = ImageTable(stage_table(source, tmp_path / "stage"))
    assert (copy.folder / IMAGES).read_bytes() == (table.folder / IMAGES).read_bytes()
    assert copy.record == either.record
    assert torch.equal(copy.labels, table.labels)
    assert np.array_equal(copy.content_hashes, table.content_hashes)
    assert not (copy.folder / PARTS).exists()
    assert [path.name for path in copy.folder.iterdir() if path.name.startswith(".")] == []


def test_copy_is_used_again(in_parts: ImageTable, tmp_path: Path) -> None:
    store = FarStore(in_parts.folder, tmp_path / "notes")
    source = ImageTable(in_parts.folder, store=store)
    first = stage_table(source, tmp_path / "stage")
    assert stage_table(source, tmp_path / "stage") == first
    assert sorted(store.fetched) == [images_file(part) for part in range(3)]


@pytest.mark.parametrize("damage", [lambda pixels: pixels[:-1], lambda pixels: pixels[:-1] + b"?"])
def test_changed_copy_is_made_anew(in_parts: ImageTable, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    images = stage_table(in_parts, tmp_path / "stage") / IMAGES
    whole = images.read_bytes()
    images.write_bytes(damage(whole))
    os.utime(images, (0, 0))
    assert stage_table(in_parts, tmp_path / "stage") / IMAGES == images
    assert images.read_bytes() == whole


def test_processes_at_once_make_one_copy(in_parts: ImageTable, tmp_path: Path) -> None:
    store, found = FarStore(in_parts.folder, tmp_path / "notes"), list[Path]()
    source = ImageTable(in_parts.folder, store=store)
    threads = [Thread(target=lambda: found.append(stage_table(source, tmp_path / "stage"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(store.fetched) == 3


def stage(source: ImageTable, root: Path) -> None:
    stage_table(source, root)


def test_killed_copy_goes_on(table: ImageTable, in_parts: ImageTable, tmp_path: Path) -> None:
    source = ImageTable(in_parts.folder, store=FarStore(in_parts.folder, tmp_path / "notes", images_file(1)))
    assert ended(stage, source, tmp_path / "stage") == -signal.SIGKILL
    assert [path for path in (tmp_path / "stage").iterdir() if not path.name.startswith(".")] == []
    again = FarStore(in_parts.folder, tmp_path / "again")
    copy = stage_table(ImageTable(in_parts.folder, store=again), tmp_path / "stage")
    assert images_file(0) not in again.fetched
    assert images_file(1) in again.fetched
    assert (copy / IMAGES).read_bytes() == (table.folder / IMAGES).read_bytes()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"\xff"])
def test_damaged_images_are_refused(either: ImageTable, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = max(either.folder.glob("images*"))
    kept = path.read_bytes()
    path.unlink()  # other versions may link it
    path.write_bytes(damage(kept))
    with pytest.raises(GlowPipelineError) as refused:
        stage_table(either, tmp_path / "stage")
    assert str(refused.value) == (
        f"{either.folder}: {path.name} is not as it was when the table of tiny train was made (images 20 to 22); "
        f"remove that version of the table and make it again"
    )
    path.write_bytes(kept)
    assert ImageTable(stage_table(either, tmp_path / "stage")).record == either.record


def test_too_small_disk_is_refused_first(table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=N * 64 - 1))
    with pytest.raises(GlowPipelineError) as refused:
        stage_table(table, tmp_path / "stage")
    assert str(refused.value) == (
        f"train.stage={tmp_path / 'stage'}: 0.0 GiB are free, and copying tiny train takes 0.0 GiB; make room, choose "
        f"another disk, or set it to null"
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=N * 64))
    assert stage_table(table, tmp_path / "stage").is_dir()


def test_other_copies_are_named(make_table: MakeTable, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tables: Iterator[ImageTable] = (make_table(random_images(n), 4) for n in (4, 5))
    first, _ = (stage_table(table, tmp_path / "stage") for table in tables)
    assert caplog.messages == [
        f"{tmp_path / 'stage'} has copies of other tables; remove those that no training reads: {first.name} (0.0 GiB)"
    ]
