"""Tables of sources with unreadable files."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_files import IMAGES, LABELS
from glow_pipeline.images.table_writer import TableWriter, plan_table
from glow_pipeline.images.unreadable_files import AT_MOST, NAMED_AT_MOST
from tests.images.plans import IMAGE_FORMAT, as_prepared, in_memory, one_line, one_split, picture_folder


@pytest.mark.parametrize("num_workers", [0, 1])
def test_unreadable_files_stop_with_names_and_reasons(tmp_path: Path, num_workers: int) -> None:
    images = picture_folder(tmp_path / "pictures", 260, unreadable=(3, 200))
    (tmp_path / "pictures" / "b" / "0259.png").write_bytes(b"")
    message = one_line(one_split(images, num_workers=num_workers), tmp_path / "table")
    assert message.startswith(f"{images.key} test: 3 unreadable files: ")
    for name, reason in (("a/0003.png", "not an image"), ("b/0200.png", "not an image"), ("b/0259.png", "empty file")):
        assert f"{name} ({reason}" in message
    assert message.endswith("replace or remove them, or set ingest.on_unreadable=skip")


def test_first_unreadable_files_are_named_all_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = picture_folder(tmp_path / "pictures", 30, unreadable=tuple(range(5, 20)))
    with caplog.at_level(logging.WARNING):
        message = one_line(one_split(images), tmp_path / "table")
    assert len(re.findall(r"\.png \(", message)) == NAMED_AT_MOST
    assert f"15 unreadable files: {Path('a') / '0005.png'} (" in message
    assert f"and {15 - NAMED_AT_MOST} more, listed above" in message
    listed = [record.getMessage() for record in caplog.records]
    assert len(listed) == 15
    assert all(
        f"{row:04}.png: unreadable: not an image" in line for row, line in zip(range(5, 20), listed, strict=True)
    )


def test_entirely_unreadable_folder_stops_early(tmp_path: Path) -> None:
    plan, calls = in_memory(10_000, range(0), "stop")
    message = one_line(plan, tmp_path / "table")
    assert AT_MOST <= len(calls) < 3 * AT_MOST
    assert "unreadable files so far: n0 (gone), n1 (gone)" in message


def test_skipped_files_leave_the_rest_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = picture_folder(tmp_path / "pictures", 9, unreadable=(0, 4, 5))
    with caplog.at_level(logging.WARNING):
        plan_table(images, "test", IMAGE_FORMAT, tmp_path, "skip").write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    kept = [1, 2, 3, 6, 7, 8]
    assert torch.equal(table[:][0], as_prepared(kept))
    assert table.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert list(table.names or ()) == [str(Path("a" if row < 5 else "b") / f"{row:04}.png") for row in kept]
    assert table.record.count == len(table) == 6
    assert [name for name, _ in table.unreadable()] == [
        str(Path(name)) for name in ("a/0000.png", "a/0004.png", "b/0005.png")
    ]
    assert all("not an image" in reason for _, reason in table.unreadable())
    assert len(caplog.records) == 3


@pytest.mark.parametrize("readable", [range(5), range(995, 1000), range(0, 1000, 2), range(1), range(1000)], ids=str)
def test_npy_header_states_the_written_images(tmp_path: Path, readable: range) -> None:
    """The header is written before the number of readable files is known."""
    in_memory(1000, readable, "skip").plan.write(tmp_path / "table")
    file = tmp_path / "table" / IMAGES
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    assert images.dtype == np.uint8
    assert images.shape == (len(readable), 1, 2, 2)
    assert np.array_equal(images[:, 0, 1, 1], [32 * (row % 8) for row in readable])
    assert file.stat().st_size == images.offset + images.nbytes
    assert np.load(tmp_path / "table" / LABELS).tolist() == [row % 5 for row in readable]
    assert list(ImageTable(tmp_path / "table").names or ()) == [f"n{row}" for row in readable]


def test_skipping_has_no_limit(tmp_path: Path) -> None:
    plan, calls = in_memory(3 * AT_MOST, range(2), "skip")
    plan.write(tmp_path / "table")
    assert len(calls) == 3 * AT_MOST
    assert ImageTable(tmp_path / "table").record.n_unreadable == 3 * AT_MOST - 2


def test_readable_own_validation_images_are_counted(tmp_path: Path) -> None:
    in_memory(20, range(18), "skip", own_validation=5).plan.write(tmp_path / "table")
    assert ImageTable(tmp_path / "table").record.own_validation == 3


def test_classes_and_unreadable_files_go_together(tmp_path: Path) -> None:
    plan, calls = in_memory(40, range(7, 40), "skip", own_validation=10)
    origin = plan.origin.model_copy(update={"image_selection": ImageSelection.of("levels", [1, 3])})
    TableWriter(origin, 5, plan.open).write(tmp_path / "table")
    chosen = [row for row in range(40) if row % 5 in (1, 3)]
    kept = [row for row in chosen if row >= 7]
    table = ImageTable(tmp_path / "table")
    assert calls == chosen
    assert list(table.names or ()) == [f"n{row}" for row in kept]
    assert table.labels.tolist() == [row % 5 for row in kept]
    assert table.record.own_validation == sum(row >= 30 for row in kept)
    assert table.record.num_classes == 5


def test_skipping_every_file_is_refused(tmp_path: Path) -> None:
    plan, calls = in_memory(300, range(0), "skip")
    message = one_line(plan, tmp_path / "table")
    assert message.startswith("levels train: 300 unreadable files: n0 (gone), ")
    assert "on_unreadable" not in message  # it is set already
    assert len(calls) == 300


SPLITS: tuple[Split, ...] = ("train", "test")


@pytest.mark.parametrize("split", SPLITS)
def test_unreadable_files_of_both_splits_are_listed_together(tmp_path: Path, split: Split) -> None:
    picture_folder(tmp_path / "pictures", 40, unreadable=tuple(range(8)))
    for row in range(8):  # not all in one split
        (tmp_path / "pictures" / "a" / f"{row:04}.png").write_bytes(f"no picture {row}".encode())
    images = ImageSelection.of_folder(str(tmp_path / "pictures"), None, 50.0, 0)
    plan = plan_table(images, split, IMAGE_FORMAT, tmp_path)
    line = one_line(plan, tmp_path / "table")
    assert line.startswith("folder_pictures: 8 unreadable files: ")
    assert all(f"{Path('a') / f'{row:04}.png'} (" in line for row in range(8))
    alone = one_line(replace(plan, other_split=None), tmp_path / "table")
    assert alone.startswith(f"folder_pictures {split}: ")
    assert 0 < len(re.findall(r"\.png \(", alone)) < 8


@pytest.mark.parametrize(
    ("split", "listed"),
    [
        ("train", ["a/0001.png", "later/a/0001.png", "later/b/0002.png"]),
        ("test", ["a/0001.png", "b/0002.png", "first/a/0001.png"]),
    ],
)
def test_unreadable_files_of_another_folder_have_its_name(tmp_path: Path, split: Split, listed: list[str]) -> None:
    picture_folder(tmp_path / "first", 4, unreadable=(1,))
    picture_folder(tmp_path / "later", 4, unreadable=(1, 2))
    images = ImageSelection.of_folder(str(tmp_path / "first"), str(tmp_path / "later"), 10.0, 0)
    line = one_line(plan_table(images, split, IMAGE_FORMAT, tmp_path), tmp_path / "table")
    assert "3 unreadable files: " in line
    assert re.findall(r"(\S+) \(not", line) == listed
