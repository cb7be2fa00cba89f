"""Tables that are made in parts."""

import pickle
import platform
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.ingest_parts import IngestParts, environment_here, images_of_part
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import ArraySplit
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_commit import commit
from glow_pipeline.images.table_files import CONTENT, FEW_NAMES, IMAGES, LABELS, PARTS, RECORD, UNREADABLE
from glow_pipeline.images.table_writer import TableWriter, plan_table
from glow_pipeline.stores import FolderStore
from glow_pipeline.workers.choice import Workers
from glow_pipeline.workers.part_work import Seat
from glow_pipeline.workers.processes import compute
from tests.conftest import MakeSource, random_images
from tests.images.plans import IMAGE_FORMAT, in_memory, one_split, picture_folder

SMALL_FILES = (LABELS, CONTENT, FEW_NAMES, UNREADABLE, RECORD)


def work_of(plan: TableWriter, folder: Path, part_images: int) -> IngestParts:
    return IngestParts(plan, FolderStore(folder / f"parts-{part_images}"), part_images)


def made(plan: TableWriter, folder: Path, part_images: int, processes: int = 1) -> Path:
    """Make the table in parts of so many images."""
    work = work_of(plan, folder, part_images)
    compute(work, work.missing(), processes)
    commit(work, folder / f"table-{part_images}")
    return folder / f"table-{part_images}"


def alone(plan: TableWriter, folder: Path) -> Path:
    """Make the table at once."""
    plan.write(folder / "alone")
    return folder / "alone"


def assert_same(folder: Path, other: Path) -> None:
    assert torch.equal(ImageTable(folder)[:][0], ImageTable(other)[:][0])
    for name in SMALL_FILES:
        assert (folder / name).exists() == (other / name).exists(), name
        if (folder / name).exists():
            assert (folder / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("part_images", [3, 64, 100])
def test_parts_make_the_same_table(tmp_path: Path, part_images: int) -> None:
    """Whatever their size is to that of the chunks that are decoded."""
    count = 12 if part_images == 3 else 130
    images = picture_folder(tmp_path / "pictures", count, unreadable=(3, 4, count - 1))
    plan = plan_table(images, "test", IMAGE_FORMAT, tmp_path, "skip")
    assert_same(made(plan, tmp_path, part_images), alone(plan, tmp_path))


@pytest.mark.parametrize("classes", [None, (1, 3)])
def test_arrays_in_parts_make_the_same_table(
    make_source: MakeSource, tmp_path: Path, classes: tuple[int] | None
) -> None:
    selection = make_source(random_images(23), own_validation=5).model_copy(update={"classes": classes})
    plan = plan_table(selection, "train", IMAGE_FORMAT, tmp_path)
    assert_same(made(plan, tmp_path, 3), alone(plan, tmp_path))


@pytest.mark.slow  # two new processes import torch
def test_several_processes_make_the_same_table(tmp_path: Path) -> None:
    plan = plan_table(picture_folder(tmp_path / "pictures", 24), "test", IMAGE_FORMAT, tmp_path)
    assert_same(made(plan, tmp_path, 5, processes=2), alone(plan, tmp_path))


def test_one_part_makes_the_usual_table(tmp_path: Path) -> None:
    plan = plan_table(picture_folder(tmp_path / "pictures", 9), "test", IMAGE_FORMAT, tmp_path)
    folder, other = made(plan, tmp_path, 9), alone(plan, tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in other.iterdir())
    assert (folder / IMAGES).read_bytes() == (other / IMAGES).read_bytes()


def test_committed_table_has_no_other_files(tmp_path: Path) -> None:
    folder = made(in_memory(10, range(10), "stop").plan, tmp_path, 4)
    images = [f"images-0000{part}.npy" for part in range(3)]
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [*images, PARTS, LABELS, CONTENT, FEW_NAMES, RECORD]
    )
    assert not (tmp_path / "parts-4").exists()


def test_sizes_of_files_are_capped_across_parts(tmp_path: Path) -> None:
    """The first hundred different sizes are counted, of whatever part they are."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(300):
        Image.new("L", (1 + n % 60, 1 + n % 150 // 60)).save(folder / f"{n:03}.png")
    plan = plan_table(ImageSelection.of_folder(str(folder), str(folder), 10.0, 0), "test", IMAGE_FORMAT, tmp_path)
    assert_same(made(plan, tmp_path, 120), alone(plan, tmp_path))


def test_only_missing_parts_are_decoded(tmp_path: Path) -> None:
    plan, calls = in_memory(10, range(10), "stop")
    work = work_of(plan, tmp_path, 4)
    for done in work.run([1], Seat()):
        assert done == 4
    assert calls == [4, 5, 6, 7]
    assert work.missing() == [0, 2]
    compute(work, work.missing())
    assert calls == [4, 5, 6, 7, 0, 1, 2, 3, 8, 9]
    assert work.missing() == []


class Removed(FolderStore):
    """A store that another command removes whenever a file is put there."""

    def put(self, name: str, written: Path) -> None:
        raise FileNotFoundError(f"{self.path / name} is gone")


def test_table_made_by_others_meanwhile_ends_no_command(tmp_path: Path) -> None:
    work = work_of(in_memory(10, range(10), "stop").plan, tmp_path, 4)
    removed = replace(work, store=Removed(tmp_path / "parts-4"))
    compute(removed, removed.missing())
    assert removed.missing() == [0, 1, 2]


def test_part_without_its_record_is_missing(tmp_path: Path) -> None:
    """It is the last file of a part that is stored."""
    work = work_of(in_memory(10, range(10), "stop").plan, tmp_path, 4)
    compute(work, work.missing())
    (tmp_path / "parts-4" / "00001.json").unlink()
    assert work.missing() == [1]


def test_array_sources_are_read_once_for_all_parts(make_source: MakeSource, tmp_path: Path) -> None:
    plan = plan_table(make_source(random_images(12)), "train", IMAGE_FORMAT, tmp_path)
    split, reads = plan.images.split, []
    assert isinstance(split, ArraySplit)
    counted = replace(split, read=lambda: reads.append(1) or split.read())  # type: ignore[func-returns-value]
    made(replace(plan, open=lambda: counted), tmp_path, 2)
    assert len(reads) == 1


@pytest.mark.parametrize("n_labels", [11, 13])
def test_wrong_count_never_completes_the_last_part(make_source: MakeSource, tmp_path: Path, n_labels: int) -> None:
    plan = plan_table(make_source(random_images(12), n_labels=n_labels), "train", IMAGE_FORMAT, tmp_path)
    work = work_of(plan, tmp_path, 4)
    with pytest.raises(GlowPipelineError, match="labels but 12 images"):
        compute(work, work.missing())
    assert work.missing()


def test_parts_with_unreadable_files_are_not_stored(tmp_path: Path) -> None:
    images = picture_folder(tmp_path / "pictures", 12, unreadable=(1, 9))
    work = work_of(one_split(images), tmp_path, 4)
    with pytest.raises(GlowPipelineError, match=r"2 unreadable files: a/0001\.png .*, b/0009\.png ") as raised:
        compute(work, work.missing())
    assert str(raised.value).isprintable()
    assert work.missing() == [0, 2]


def test_skipping_every_file_of_all_parts_is_refused(tmp_path: Path) -> None:
    work = work_of(in_memory(9, range(0), "skip").plan, tmp_path, 4)
    compute(work, work.missing())
    with pytest.raises(GlowPipelineError, match=r"levels train: 9 unreadable files: n0 .*; none is left"):
        commit(work, tmp_path / "table")
    assert not (tmp_path / "table").exists()


def test_part_of_unreadable_files_alone_is_left_out(tmp_path: Path) -> None:
    plan = in_memory(9, range(6, 9), "skip").plan
    folder = made(plan, tmp_path, 3)
    assert_same(folder, alone(plan, tmp_path))
    assert [name for name, _ in ImageTable(folder).unreadable()] == [f"n{row}" for row in range(6)]


def test_interrupted_commit_is_done_again(tmp_path: Path) -> None:
    work = work_of(in_memory(10, range(10), "stop").plan, tmp_path, 4)
    compute(work, work.missing())
    parts = tmp_path / "parts-4"
    shutil.copytree(parts, tmp_path / "copy")
    commit(work, tmp_path / "once")
    shutil.copytree(tmp_path / "copy", parts)
    for name in (LABELS, RECORD):  # written by a process that was killed
        (parts / name).write_bytes(b"half")
    (parts / ".0a1b2c3d.00001.json").write_bytes(b"half")
    commit(work, tmp_path / "again")
    assert_same(tmp_path / "again", tmp_path / "once")


# What depends on this machine --------------------------------------------------------------------


def test_other_libraries_of_a_worker_are_refused(tmp_path: Path) -> None:
    plan, calls = in_memory(4, range(4), "stop")
    work = replace(work_of(plan, tmp_path, 2), environment={"torch": "0.1", "pillow": "0.1", "machine": "abacus"})
    with pytest.raises(GlowPipelineError) as raised:
        compute(work, [0])
    assert "made with torch 0.1, pillow 0.1, machine abacus, and this" in str(raised.value)
    assert f"machine {platform.machine()}, with which pixels may differ; use the same for all" in str(raised.value)
    assert calls == []


def test_commands_agree_on_their_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agreed = FolderStore(tmp_path / "agreed")
    work = replace(work_of(in_memory(4, range(4), "stop").plan, tmp_path, 2), agreed=agreed)
    compute(work, [0])
    machine = platform.machine()
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    other = replace(work, environment=environment_here())
    with pytest.raises(GlowPipelineError) as raised:
        compute(other, [1])
    assert f"made with machine {machine}, and this command would use machine abacus, with" in str(raised.value)
    assert str(raised.value).endswith(f"use the same for all, or delete {agreed.path} to begin anew")
    monkeypatch.undo()
    compute(work, [1])
    commit(work, tmp_path / "table")
    assert not agreed.path.exists()


# The size of a part ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "of", "count", "expected"),
    [
        ("processes", None, 10**8, 2**28 // 3072),
        ("ray", None, 20_000, 2048),
        ("ray", None, 10**6, 15_625),
        ("array", 3, 10**6, 15_625),
        ("array", 64, 10**6, 3907),
        ("array", 3, 10**9, 2**28 // 3072),
        ("array", 3, 1797, 2048),
    ],
)
def test_parts_are_large_but_enough_for_all(
    monkeypatch: pytest.MonkeyPatch, engine: str, of: int | None, count: int, expected: int
) -> None:
    monkeypatch.setenv("NODE_RANK", "0")
    plan = in_memory(1, range(1), "stop").plan
    image_format = ImageFormat(channels=3, height=32, width=32, n_bits=8, fit="resize")
    plan = replace(plan, origin=plan.origin.model_copy(update={"image_format": image_format}))
    assert images_of_part(plan, Workers(engine, of), count) == expected
    assert images_of_part(plan, Workers(engine, of, 17), count) == 17


# Other processes ---------------------------------------------------------------------------------


def test_sent_work_lists_no_folder_again(tmp_path: Path) -> None:
    images = picture_folder(tmp_path / "pictures", 6)
    work = work_of(plan_table(images, "test", IMAGE_FORMAT, tmp_path), tmp_path, 4)
    assert work.sizes == [4, 2]
    sent = pickle.loads(pickle.dumps(work))  # noqa: S301  # as to a process of a pool
    shutil.rmtree(tmp_path / "pictures")
    assert sent.sizes == work.sizes
    assert np.array_equal(sent.images.labels, work.images.labels)
