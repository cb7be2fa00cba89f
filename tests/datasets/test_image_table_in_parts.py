"""Tables in parts, made by one command or by several."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from kedro.io import DatasetError
from torch import Tensor

from glow_pipeline.datasets import ImageTableDataset
from glow_pipeline.errors import HelperFinished, stop_in
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.table_files import IMAGES
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.workers.choice import Workers
from tests.datasets.tiny_tables import (
    IMAGES_IN,
    SMALL,
    assert_no_table,
    dataset,
    ended,
    folder_of,
    needs_fork,
    not_decodable,
    reading,
    started,
)


def shared(folder: Path, day: int, of: int | None = 3, part_images: int = 1) -> ImageTableDataset:
    """Return the entry of one of several commands."""
    entry = dataset(folder, day)
    entry.workers = Workers("array", of, part_images)
    return entry


def hidden(folder: Path) -> list[str]:
    """Return what is beside the versions while a table is made."""
    return sorted(
        file.name for file in folder_of(folder, 1).parents[1].iterdir() if file.name.startswith((".parts", ".m"))
    )


def test_interrupted_parts_are_kept(plan: TableWriter, tmp_path: Path) -> None:
    def half() -> Iterator[Tensor]:
        yield IMAGES_IN[:5]
        raise KeyboardInterrupt

    entry = dataset(tmp_path, 1)
    entry.workers = Workers(part_images=2)
    with pytest.raises(KeyboardInterrupt):
        entry.save(reading(plan, half))
    assert_no_table(tmp_path)
    (parts,) = hidden(tmp_path)
    stored = folder_of(tmp_path, 1).parents[1] / parts
    before = (stored / "images-00001.npy").stat().st_ino
    entry = dataset(tmp_path, 2)
    entry.workers = Workers(part_images=2)
    entry.save(plan)
    assert hidden(tmp_path) == []
    assert (folder_of(tmp_path, 2) / "images-00001.npy").stat().st_ino == before  # moved, not made or copied
    assert torch.equal(entry.load()[:][0], prepare(IMAGES_IN, SMALL))
    dataset(tmp_path, 3).save(not_decodable(plan))
    assert torch.equal(dataset(tmp_path, 3).load()[:][0], prepare(IMAGES_IN, SMALL))


def test_commands_share_a_table(plan: TableWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, day in ((1, 1), (0, 2)):
        monkeypatch.setenv("NODE_RANK", str(index))
        entry = shared(tmp_path, day)
        entry.save(plan)
        share = f"its share (parts {index}, {index + 3} of 6) of ingest tiny train is stored"
        assert entry.pending is not None
        assert entry.pending.startswith(f"This machine has helped: {share}; missing: part")
        with pytest.raises(DatasetError) as raised:
            entry.load()
        assert isinstance(stop_in(raised.value), HelperFinished)
        assert_no_table(tmp_path)
    assert "missing: parts 2, 5. " in str(entry.pending)
    monkeypatch.setenv("NODE_RANK", "2")
    last = shared(tmp_path, 3)
    last.save(plan)
    assert last.pending is None
    assert torch.equal(last.load()[:][0], prepare(IMAGES_IN, SMALL))
    assert hidden(tmp_path) == []
    monkeypatch.delenv("NODE_RANK")
    late = shared(tmp_path, 4)
    late.save(not_decodable(plan))  # it need not say which of them it is
    assert late.load().folder == folder_of(tmp_path, 4)


def test_begun_parts_are_continued_whoever_does_it(
    plan: TableWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_RANK", "1")
    shared(tmp_path, 1, of=2, part_images=4).save(plan)
    (parts,) = hidden(tmp_path)[1:]
    stored = folder_of(tmp_path, 1).parents[1] / parts / "images-00001.npy"
    before = stored.stat().st_ino
    dataset(tmp_path, 2).save(plan)
    assert (folder_of(tmp_path, 2) / stored.name).stat().st_ino == before
    assert torch.equal(dataset(tmp_path, 3).load()[:][0], prepare(IMAGES_IN, SMALL))
    assert hidden(tmp_path) == []


def test_parts_of_other_sizes_go_with_the_table(
    plan: TableWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_RANK", "1")
    shared(tmp_path, 1, of=2, part_images=2).save(plan)
    shared(tmp_path, 1, of=2, part_images=4).save(plan)
    assert len(hidden(tmp_path)) == 3
    entry = dataset(tmp_path, 2)
    entry.workers = Workers(part_images=3)
    entry.save(plan)
    assert hidden(tmp_path) == []


def test_commands_that_share_compute_at_the_same_time(
    plan: TableWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock is held while one computes: another does its whole share within the first one's."""

    def interrupted() -> Iterator[Tensor]:
        monkeypatch.setenv("NODE_RANK", "1")
        shared(tmp_path, 2, of=2, part_images=3).save(plan)
        yield IMAGES_IN

    monkeypatch.setenv("NODE_RANK", "0")
    entry = shared(tmp_path, 1, of=2, part_images=3)
    entry.save(reading(plan, interrupted))
    assert torch.equal(entry.load()[:][0], prepare(IMAGES_IN, SMALL))


def test_table_made_meanwhile_is_linked(plan: TableWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken() -> Iterator[Tensor]:
        yield IMAGES_IN[:1]
        dataset(tmp_path, 2).save(plan)
        yield IMAGES_IN[1:]

    monkeypatch.setenv("NODE_RANK", "0")
    entry = shared(tmp_path, 1, part_images=2)
    entry.save(reading(plan, overtaken))
    assert entry.pending is None
    assert folder_of(tmp_path, 1).joinpath(IMAGES).samefile(folder_of(tmp_path, 2) / IMAGES)
    assert hidden(tmp_path) == []


def test_share_without_a_place_is_refused(plan: TableWriter, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as raised:
        shared(tmp_path, 1).save(plan)
    assert str(raised.value.__cause__).startswith("workers.of=3: none of NODE_RANK, ")
    assert hidden(tmp_path) == []


@needs_fork
@pytest.mark.parametrize("part_images", [2, 6])
def test_killed_command_of_several_is_typed_again(
    plan: TableWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_images: int
) -> None:
    def deadly() -> Iterator[Tensor]:
        yield IMAGES_IN[:3]
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setenv("NODE_RANK", "0")
    process = started(lambda: shared(tmp_path, 1, 1, part_images).save(reading(plan, deadly)))
    assert ended(process) == -signal.SIGKILL
    assert_no_table(tmp_path)
    shared(tmp_path, 2, 1, part_images).save(plan)
    folder = folder_of(tmp_path, 2)
    assert torch.equal(dataset(tmp_path, 3).load()[:][0], prepare(IMAGES_IN, SMALL))
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []
    assert (folder / IMAGES).exists() == (part_images == 6)


@needs_fork
def test_kills_at_any_moment_lose_no_stored_part(plan: TableWriter, tmp_path: Path) -> None:
    """Until a command is quick enough, each goes on where the one before was killed."""

    def save(day: int) -> None:
        def slow() -> Iterator[Tensor]:
            for image in IMAGES_IN.split(1):
                time.sleep(60 if day == 1 else 0.01)  # the first one is killed for certain
                yield image

        entry = dataset(tmp_path, day)
        entry.workers = Workers(part_images=1)
        entry.save(reading(plan, slow))

    tables = folder_of(tmp_path, 1).parents[1]
    stored: set[str] = set()
    killed = 0
    for day in range(1, 30):
        process = started(lambda day=day: save(day))  # type: ignore[misc]
        process.join(0.03 * day)
        process.kill()
        if ended(process) == 0:
            break
        killed += 1
        if dataset(tmp_path, 31).list_versions():
            break  # it was killed when all was done
        now = {file.name for file in tables.glob(".parts-*/0*.json")}
        assert stored <= now
        stored = now
    assert killed
    dataset(tmp_path, 31).save(plan)
    assert torch.equal(dataset(tmp_path, 31).load()[:][0], prepare(IMAGES_IN, SMALL))
    assert hidden(tmp_path) == []
