"""The disk and the memory that writing a table takes."""

import errno
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import ArraySplit, EncodedSplit
from glow_pipeline.images.table_files import FEW_NAMES, IMAGES, LABELS, RECORD
from glow_pipeline.images.table_writer import TableWriter, disk_note, plan_table
from tests.conftest import MakeSource, random_images
from tests.images.plans import (
    IMAGE_FORMAT,
    in_memory,
    one_line,
    png,
)


def test_too_small_disk_is_reported_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, calls = in_memory(100, range(100), "stop")
    needed = 100 * (4 + 8)  # four bytes an image, and its label
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    message = one_line(plan, tmp_path / "table")
    assert message.startswith(f"{tmp_path}: ")
    assert "GiB are free, and the table of levels train takes" in message
    assert "make room" in message
    assert calls == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    plan.write(tmp_path / "table")


def test_disk_of_a_large_table_is_said() -> None:
    assert disk_note(1000, 2**30 - 1, 2**40) is None
    assert disk_note(1_281_167, 3 * 2**30, 2**40) == (
        "1,281,167 images take 3.0 GiB of disk as a table, 1024.0 GiB are free"
    )


def test_space_is_checked_for_the_chosen_images(
    make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_source(random_images(30))
    checked: list[Path] = []
    usage = shutil.disk_usage(tmp_path)

    def small(path: Path) -> object:
        checked.append(path)
        return usage._replace(free=10 * (24 + 8))

    monkeypatch.setattr(shutil, "disk_usage", small)
    (tmp_path / "tables").mkdir()
    plan_table(ImageSelection.of("tiny", [1]), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / "tables" / "table")
    assert checked == [tmp_path / "tables"]
    one_line(
        plan_table(ImageSelection.of("tiny", [0, 1]), "train", IMAGE_FORMAT, tmp_path), tmp_path / "tables" / "other"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("file", [IMAGES, LABELS, FEW_NAMES, RECORD])
def test_disk_that_fills_up_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    mkdir = Path.mkdir

    def with_a_full_file(path: Path, *arguments: object, **options: object) -> None:
        mkdir(path, *arguments, **options)  # type: ignore[arg-type]
        if path.name.endswith(".table"):
            (path / file).symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", with_a_full_file)
    message = one_line(in_memory(3000, range(3000), "stop").plan, tmp_path / "table")
    assert message.startswith(f"{tmp_path}: the disk is full (levels train); make room")


def test_other_disk_errors_stay_unchanged(tmp_path: Path) -> None:
    def broken() -> Iterator[Tensor]:
        yield random_images(2, 1, (2, 2))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    origin = in_memory(1, range(1), "stop").plan.origin
    with pytest.raises(OSError, match="Input/output error"):
        TableWriter(origin, 3, lambda: ArraySplit(np.zeros(4, dtype=np.int64), broken)).write(tmp_path / "table")


def in_child(target: Callable[..., None], *arguments: object) -> int:
    """Run the target in a process of its own and return the number that it sends."""
    receiver, sender = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=target, args=(*arguments, sender))
    process.start()
    process.join(240)
    assert process.exitcode == 0
    assert receiver.poll()
    answer: int = receiver.recv()
    return answer


def write_little(folder: Path, answer: Connection) -> None:
    """With files of at most 16 KiB: 12 of images fit, 24 of labels do not."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, 2**14))
    try:
        in_memory(3000, range(3000), "stop").plan.write(folder)
    except OSError as problem:
        answer.send(problem.errno)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of a forked process's own")
def test_partly_written_array_has_the_true_error(tmp_path: Path) -> None:
    """numpy's own `save` would say `3000 requested and 2032 written`, and a full disk would not be known for one."""
    assert in_child(write_little, tmp_path / "table") == errno.EFBIG
    assert (tmp_path / "table" / IMAGES).stat().st_size == 128 + 3000 * 4


SIDE = 256


def white(count: int) -> Iterator[Tensor]:
    for start in range(0, count, 16):
        yield torch.full((min(16, count - start), 3, SIDE, SIDE), 255, dtype=torch.uint8)


@dataclass
class White:
    content: bytes

    def __call__(self, index: int) -> bytes:
        return self.content

    def name(self, index: int) -> str:
        return str(index)


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(kind: str, folder: Path, count: int, answer: Connection) -> None:
    origin = in_memory(1, range(1), "stop").plan.origin
    image_format = origin.image_format.model_copy(update={"channels": 3, "height": SIDE, "width": SIDE})
    content = png(np.full((SIDE, SIDE, 3), 255, dtype=np.uint8))

    def write(n: int, name: str) -> None:
        labels = np.zeros(n, dtype=np.int64)
        split = EncodedSplit(labels, White(content)) if kind == "files" else ArraySplit(labels, lambda: white(n))
        TableWriter(origin.model_copy(update={"image_format": image_format}), 1, lambda: split).write(folder / name)

    write(40, "small")  # whatever is needed however few there are
    before = peak()
    write(count, "table")
    answer.send(peak() - before)


@pytest.mark.skipif(sys.platform != "linux", reason="a fork has its own peak on Linux")
@pytest.mark.parametrize("kind", ["arrays", "files"])
def test_memory_is_independent_of_image_count(tmp_path: Path, kind: str) -> None:
    growth = in_child(measure, kind, tmp_path, 400)
    size = (tmp_path / "table" / IMAGES).stat().st_size
    assert size > 75 * 2**20
    assert growth < size / 2  # all images at once would take more than `size`
