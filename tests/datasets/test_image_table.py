import json
import logging
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from kedro.io import DatasetError, Version
from PIL import Image
from torch import Tensor

from glow_pipeline.datasets import ImageTableDataset
from glow_pipeline.errors import GlowPipelineError, HelperFinished, stop_in
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.ingest_parts import scratch_of_machine
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import ArraySplit
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_files import CONTENT, FEW_NAMES, IMAGES, LABELS, RECORD
from glow_pipeline.images.table_writer import TableWriter, plan_table
from glow_pipeline.workers.choice import Workers
from tests.conftest import MakeSource, random_images
from tests.images.pictures import encoded

SMALL = ImageFormat(channels=1, height=4, width=4, n_bits=8, fit="resize")
LARGE = ImageFormat(channels=3, height=8, width=8, n_bits=5, fit="pad")
IMAGES_IN = random_images(6)


def version(day: int) -> str:
    return f"2026-01-{day:02}T00.00.00.000Z"


def dataset(folder: Path, day: int, image_format: ImageFormat = SMALL) -> ImageTableDataset:
    """Return the catalog's entry in the run of that day."""
    entry = ImageTableDataset(filepath=str(folder / "tiny" / "train"), version=Version(None, version(day)))
    entry.identify(image_format)
    return entry


def folder_of(folder: Path, day: int, image_format: ImageFormat = SMALL) -> Path:
    return folder / "tiny" / image_format.key / "train" / version(day) / "train"


@pytest.fixture
def plan(make_source: MakeSource, tmp_path: Path) -> TableWriter:
    return plan_table(make_source(IMAGES_IN), "train", SMALL, tmp_path)


def reading(plan: TableWriter, read: Callable[[], Iterator[Tensor]]) -> TableWriter:
    """Return the same plan with other images."""
    return replace(plan, open=lambda: ArraySplit(np.arange(6) % 3, read))


def not_decodable(plan: TableWriter) -> TableWriter:
    def refuse() -> NoReturn:
        raise AssertionError("the table was decoded again")

    return replace(plan, open=refuse)


def test_a_saved_plan_is_loaded_as_a_table(plan: TableWriter, tmp_path: Path) -> None:
    entry = dataset(tmp_path, 1)
    assert not entry.exists()
    entry.save(plan)
    assert entry.exists()
    table = entry.load()
    assert table.folder == folder_of(tmp_path, 1)
    assert table.record.origin == plan.origin
    assert torch.equal(table[:][0], prepare(IMAGES_IN, SMALL))


# Tables that exist already -----------------------------------------------------------------------


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


# Formats and versions ---------------------------------------------------------------------------


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


# Interrupted tables -----------------------------------------------------------------------------


def assert_no_table(folder: Path) -> None:
    assert not dataset(folder, 20).exists()
    assert dataset(folder, 20).list_versions() == []


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


# Two processes ----------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the plan's images are in this process's memory")


def started(target: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    return process


def ended(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join(60)
    assert not process.is_alive()
    return process.exitcode


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
        barrier.wait(30)
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


# Tables in parts --------------------------------------------------------------------------------


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

    def slow() -> Iterator[Tensor]:
        for image in IMAGES_IN.split(1):
            time.sleep(0.01)
            yield image

    def save(day: int) -> None:
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
