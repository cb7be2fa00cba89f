import errno
import io
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256, written_whole
from glow_pipeline.images.decoding import UnreadableImageError
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.planned_table import NAMED_AT_MOST, UNREADABLE_AT_MOST, PlannedTable, plan_table
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.source import ArraySplit, EncodedSplit
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import IMAGES, LABELS, NAMES, RECORD, ImageTable, OnUnreadable, TableOrigin
from tests.conftest import MakeSource, random_images

SPEC = ImageSpec(channels=1, height=4, width=6, n_bits=3, fit="resize")


def one_line(plan: PlannedTable, folder: Path) -> str:
    """What a user is told instead of getting a table, of which nothing is left."""
    with pytest.raises(GlowPipelineError) as told, written_whole(folder) as temporary:
        plan.write(temporary)
    assert str(told.value).isprintable()
    assert not folder.exists()
    assert [file for file in folder.parent.iterdir() if file.name.startswith(".")] == []
    return str(told.value)


# From images in arrays --------------------------------------------------------------------------


def test_a_written_table_gives_the_prepared_images_and_labels(make_source: MakeSource, tmp_path: Path) -> None:
    images = random_images(23, 3, (10, 9))
    plan_table(make_source(images, chunk=10), "train", SPEC, tmp_path).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert len(table) == 23
    got, labels = table[:]
    assert got.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(got, prepare(images, SPEC))
    assert torch.equal(labels, torch.arange(23) % 3)


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_sources_of_any_size_and_colour_come_to_one_spec_by_one_path(
    make_source: MakeSource, tmp_path: Path, fit: str
) -> None:
    spec = ImageSpec.model_validate({**SPEC.model_dump(), "fit": fit})
    inside, outside = random_images(5, 1, (28, 28)), random_images(5, 3, (8, 17))
    for name, images in (("inside", inside), ("outside", outside)):
        plan_table(make_source(images, name=name), "test", spec, tmp_path).write(tmp_path / name)
        table = ImageTable(tmp_path / name)
        assert table.record.spec == spec
        assert torch.equal(table[:][0], prepare(images, spec))


def test_the_record_says_what_the_table_is(make_source: MakeSource, tmp_path: Path) -> None:
    plan = plan_table(make_source(random_images(3)), "test", SPEC, tmp_path)
    plan.write(tmp_path / "table")
    record = ImageTable(tmp_path / "table").record
    assert record.origin == plan.origin
    assert (record.name, record.split, record.count, record.num_classes) == ("tiny", "test", 3, 3)
    assert (record.own_validation, record.unreadable, record.on_unreadable) == (0, {}, "stop")
    assert record.spec == SPEC
    assert record.image_set == ImageSet.of("tiny")
    assert record.source_files == {"tiny.bin": sha256(tmp_path / "raw" / "tiny.bin")}
    assert torch.__version__.startswith(record.made_with["torch"])


def test_origins_are_equal_when_the_tables_would_be(make_source: MakeSource, tmp_path: Path) -> None:
    def origin(
        content: bytes = b"one",
        split: str = "train",
        n_bits: int = 3,
        fit: str = "resize",
        classes: list[int] | None = None,
        on_unreadable: OnUnreadable = "stop",
        num_workers: int = 0,
    ) -> TableOrigin:
        spec = ImageSpec.model_validate({**SPEC.model_dump(), "n_bits": n_bits, "fit": fit})
        make_source(random_images(3), content=content)
        images = ImageSet.of("tiny", classes)
        return plan_table(
            images, "train" if split == "train" else "test", spec, tmp_path, on_unreadable, num_workers
        ).origin

    assert origin() == origin()
    assert origin(num_workers=2) == origin()
    others = [
        origin(content=b"two"),
        origin(split="test"),
        origin(n_bits=2),
        origin(fit="pad"),
        origin(classes=[0, 1]),
        origin(on_unreadable="skip"),
    ]
    assert all(other != origin() for other in others)


def test_two_tables_of_equal_origin_hold_the_same_bytes(make_source: MakeSource, tmp_path: Path) -> None:
    for name, chunk in (("a", 10), ("b", 4)):
        plan_table(make_source(random_images(13), chunk=chunk), "train", SPEC, tmp_path).write(tmp_path / name)
    for file in (IMAGES, LABELS, RECORD):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("n_labels", [20, 22, 24, 31])
@pytest.mark.parametrize("classes", [None, [1]])
def test_labels_and_images_that_are_not_as_many_are_told(
    make_source: MakeSource, tmp_path: Path, n_labels: int, classes: list[int] | None
) -> None:
    make_source(random_images(23), n_labels=n_labels)
    plan = plan_table(ImageSet.of("tiny", classes), "train", SPEC, tmp_path)
    told = one_line(plan, tmp_path / "table")
    assert re.match(rf"tiny(_class_1)? train: {n_labels} labels but 23 images; fetch ", told)


def test_planning_decodes_nothing(make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("an image was prepared")

    monkeypatch.setattr("glow_pipeline.images.planned_table.prepare", refuse)
    plan = plan_table(make_source(random_images(3)), "train", SPEC, tmp_path)
    with pytest.raises(AssertionError, match="prepared"):
        plan.write(tmp_path / "table")


# Some classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 10, 100])
@pytest.mark.parametrize("classes", [[0], [2], [0, 2], [0, 1, 2], [1, 7]])
def test_a_table_of_some_classes_has_their_images_and_labels(
    make_source: MakeSource, tmp_path: Path, classes: list[int], chunk: int
) -> None:
    images = random_images(23)
    make_source(images, chunk=chunk)
    plan_table(ImageSet.of("tiny", classes), "train", SPEC, tmp_path).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    rows = [row for row in range(23) if row % 3 in classes]
    assert torch.equal(table[:][0], prepare(images, SPEC)[rows])
    assert table.labels.tolist() == [row % 3 for row in rows]
    assert table.record.count == len(rows)
    assert table.record.image_set.classes == tuple(classes)
    assert table.record.num_classes == 3  # labels keep their meaning


def test_classes_that_nothing_is_of_are_told_with_those_there_are(make_source: MakeSource, tmp_path: Path) -> None:
    make_source(random_images(23))
    plan = plan_table(ImageSet.of("tiny", [5, 7]), "test", SPEC, tmp_path)
    told = one_line(plan, tmp_path / "table")
    assert told == "tiny_class_5_7 test: no image is of class 5, 7; its images are of 0, 1, 2"


@pytest.mark.parametrize("classes", [None, [0], [1, 2]])
@pytest.mark.parametrize("own_validation", [0, 1, 5, 23])
def test_the_sources_own_validation_images_are_counted_among_those_of_the_classes(
    make_source: MakeSource, tmp_path: Path, classes: list[int] | None, own_validation: int
) -> None:
    make_source(random_images(23), own_validation=own_validation)
    plan_table(ImageSet.of("tiny", classes), "train", SPEC, tmp_path).write(tmp_path / "table")
    own = [row for row in range(23 - own_validation, 23) if classes is None or row % 3 in classes]
    assert ImageTable(tmp_path / "table").record.own_validation == len(own)


# From encoded images ----------------------------------------------------------------------------


def png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pixels(index: int) -> NDArray[np.uint8]:
    """Images of many sizes, grey and coloured."""
    channels = (3,) if index % 2 else ()
    shape = (3 + index % 5, 2 + index % 7, *channels)
    return np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)


def as_prepared(rows: list[int], spec: ImageSpec = SPEC) -> Tensor:
    images = [torch.from_numpy(np.atleast_3d(pixels(row))).permute(2, 0, 1)[None] for row in rows]
    return torch.cat([prepare(image, spec) for image in images])


def picture_folder(folder: Path, count: int, unreadable: tuple[int, ...] = ()) -> ImageSet:
    """Two classes, of which the first has one more image if the number is odd."""
    half = (count + 1) // 2
    for index in range(count):
        file = folder / ("a" if index < half else "b") / f"{index:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no picture" if index in unreadable else png(pixels(index)))
    return ImageSet.of_folder(str(folder), str(folder), 10.0, 0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_of_files_are_prepared_as_images_of_arrays_are(tmp_path: Path, num_workers: int) -> None:
    images = picture_folder(tmp_path / "pictures", 301)
    plan_table(images, "test", SPEC, tmp_path, num_workers=num_workers).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert torch.equal(table[:][0], as_prepared(list(range(301))))
    assert table.labels.tolist() == [0] * 151 + [1] * 150
    assert table.names == [str(Path("a" if row < 151 else "b") / f"{row:04}.png") for row in range(301)]
    assert table.record.num_classes == 2
    assert list(table.record.source_files) == ["pictures"]


def test_some_classes_of_files_have_their_images_labels_and_names(tmp_path: Path) -> None:
    images = picture_folder(tmp_path / "pictures", 9).model_copy(update={"classes": (1,)})
    plan_table(images, "train", SPEC, tmp_path).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert torch.equal(table[:][0], as_prepared([5, 6, 7, 8]))
    assert table.labels.tolist() == [1] * 4
    assert table.names == [str(Path("b") / f"000{row}.png") for row in (5, 6, 7, 8)]


def test_names_are_plain_json_with_a_name_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("画,像.png", "new\nline.png"):
        (folder / name).write_bytes(png(pixels(0)))
    plan_table(ImageSet.of_folder(str(folder), str(folder), 10.0, 0), "test", SPEC, tmp_path).write(tmp_path / "table")
    text = (tmp_path / "table" / NAMES).read_text(encoding="utf-8")
    assert json.loads(text) == [r"new\nline.png", "画,像.png"]
    assert text.splitlines()[1:3] == [r'"new\\nline.png",', '"画,像.png"']


def test_images_of_arrays_have_no_names(make_source: MakeSource, tmp_path: Path) -> None:
    plan_table(make_source(random_images(3)), "train", SPEC, tmp_path).write(tmp_path / "table")
    assert not (tmp_path / "table" / NAMES).exists()
    assert ImageTable(tmp_path / "table").names is None


# Unreadable files -------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 1])
def test_unreadable_files_stop_the_ingest_with_their_names_and_reasons(tmp_path: Path, num_workers: int) -> None:
    images = picture_folder(tmp_path / "pictures", 260, unreadable=(3, 200))
    (tmp_path / "pictures" / "b" / "0259.png").write_bytes(b"")
    told = one_line(plan_table(images, "train", SPEC, tmp_path, "stop", num_workers), tmp_path / "table")
    assert told.startswith(f"{images.key} train: 3 unreadable files: ")
    for name, reason in (("a/0003.png", "not an image"), ("b/0200.png", "not an image"), ("b/0259.png", "empty file")):
        assert f"{name} ({reason}" in told
    assert told.endswith("mend or remove them, or set ingest.on_unreadable=skip")


def test_of_many_unreadable_files_some_are_named_and_all_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = picture_folder(tmp_path / "pictures", 30, unreadable=tuple(range(5, 20)))
    with caplog.at_level(logging.WARNING):
        told = one_line(plan_table(images, "train", SPEC, tmp_path), tmp_path / "table")
    assert len(re.findall(r"\.png \(", told)) == NAMED_AT_MOST
    assert f"15 unreadable files: {Path('a') / '0005.png'} (" in told
    assert f"and {15 - NAMED_AT_MOST} more, listed above" in told
    listed = [record.getMessage() for record in caplog.records]
    assert len(listed) == 15
    assert all(
        f"{row:04}.png: unreadable: not an image" in line for row, line in zip(range(5, 20), listed, strict=True)
    )


class Calls(list[int]):
    """What was asked for."""


@dataclass
class Levels:
    """Image i is of level 32 * (i % 8), but those beyond `readable` cannot be read."""

    readable: range
    calls: Calls

    def __call__(self, index: int) -> bytes:
        self.calls.append(index)
        if index not in self.readable:
            raise UnreadableImageError("gone")
        return png(np.full((2, 2), 32 * (index % 8), dtype=np.uint8))

    def name(self, index: int) -> str:
        return f"n{index}"


class InMemory(NamedTuple):
    plan: PlannedTable
    calls: Calls


def in_memory(
    count: int, readable: range, on_unreadable: OnUnreadable, own_validation: int = 0, n_classes: int = 5
) -> InMemory:
    """A plan that reads from nowhere; labels are 0, 1, ..., n_classes - 1, 0, ..."""
    origin = TableOrigin(
        image_set=ImageSet.of("levels"),
        split="train",
        spec=ImageSpec(channels=1, height=2, width=2, n_bits=8, fit="resize"),
        source_files={},
        on_unreadable=on_unreadable,
        made_with={},
    )
    calls = Calls()
    labels = np.arange(count) % n_classes
    return InMemory(
        PlannedTable(origin, n_classes, lambda: EncodedSplit(labels, Levels(readable, calls), own_validation)), calls
    )


def test_a_folder_in_which_nothing_can_be_read_is_told_before_all_of_it_was_tried(tmp_path: Path) -> None:
    plan, calls = in_memory(10_000, range(0), "stop")
    told = one_line(plan, tmp_path / "table")
    assert UNREADABLE_AT_MOST <= len(calls) < 3 * UNREADABLE_AT_MOST
    assert "unreadable files so far: n0 (gone), n1 (gone)" in told


def test_skipping_leaves_unreadable_files_out_and_keeps_the_rest_in_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = picture_folder(tmp_path / "pictures", 9, unreadable=(0, 4, 5))
    with caplog.at_level(logging.WARNING):
        plan_table(images, "train", SPEC, tmp_path, "skip").write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    kept = [1, 2, 3, 6, 7, 8]
    assert torch.equal(table[:][0], as_prepared(kept))
    assert table.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.names == [str(Path("a" if row < 5 else "b") / f"{row:04}.png") for row in kept]
    assert table.record.count == len(table) == 6
    assert list(table.record.unreadable) == [str(Path(name)) for name in ("a/0000.png", "a/0004.png", "b/0005.png")]
    assert all("not an image" in reason for reason in table.record.unreadable.values())
    assert len(caplog.records) == 3


@pytest.mark.parametrize("readable", [range(5), range(995, 1000), range(0, 1000, 2), range(1), range(1000)], ids=str)
def test_the_npy_file_has_the_shape_of_what_was_written_and_nothing_after_it(tmp_path: Path, readable: range) -> None:
    """Though its header was written before anyone knew how many could be read."""
    in_memory(1000, readable, "skip").plan.write(tmp_path / "table")
    file = tmp_path / "table" / IMAGES
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    assert images.dtype == np.uint8
    assert images.shape == (len(readable), 1, 2, 2)
    assert np.array_equal(images[:, 0, 1, 1], [32 * (row % 8) for row in readable])
    assert file.stat().st_size == images.offset + images.nbytes
    assert np.load(tmp_path / "table" / LABELS).tolist() == [row % 5 for row in readable]
    assert ImageTable(tmp_path / "table").names == [f"n{row}" for row in readable]


def test_skipping_goes_on_however_many_are_unreadable(tmp_path: Path) -> None:
    plan, calls = in_memory(3 * UNREADABLE_AT_MOST, range(2), "skip")
    plan.write(tmp_path / "table")
    assert len(calls) == 3 * UNREADABLE_AT_MOST
    assert len(ImageTable(tmp_path / "table").record.unreadable) == 3 * UNREADABLE_AT_MOST - 2


def test_the_sources_own_validation_images_are_counted_among_those_that_can_be_read(tmp_path: Path) -> None:
    in_memory(20, range(18), "skip", own_validation=5).plan.write(tmp_path / "table")
    assert ImageTable(tmp_path / "table").record.own_validation == 3


def test_classes_and_unreadable_files_go_together(tmp_path: Path) -> None:
    plan, calls = in_memory(40, range(7, 40), "skip", own_validation=10)
    origin = plan.origin.model_copy(update={"image_set": ImageSet.of("levels", [1, 3])})
    PlannedTable(origin, 5, plan.open).write(tmp_path / "table")
    asked = [row for row in range(40) if row % 5 in (1, 3)]
    kept = [row for row in asked if row >= 7]
    table = ImageTable(tmp_path / "table")
    assert calls == asked
    assert table.names == [f"n{row}" for row in kept]
    assert table.labels.tolist() == [row % 5 for row in kept]
    assert table.record.own_validation == sum(row >= 30 for row in kept)
    assert table.record.num_classes == 5


def test_when_nothing_can_be_read_there_is_nothing_to_skip_to(tmp_path: Path) -> None:
    plan, calls = in_memory(300, range(0), "skip")
    told = one_line(plan, tmp_path / "table")
    assert told.startswith("levels train: 300 unreadable files: n0 (gone), ")
    assert "on_unreadable" not in told  # it is set already
    assert len(calls) == 300


# Room -------------------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_is_told_before_an_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, calls = in_memory(100, range(100), "stop")
    needed = 100 * (4 + 8)  # four bytes an image, and its label
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    told = one_line(plan, tmp_path / "table")
    assert told.startswith(f"{tmp_path}: ")
    assert "GiB are free, and the table of levels train takes" in told
    assert "make room" in told
    assert calls == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    plan.write(tmp_path / "table")


def test_room_is_asked_for_where_the_table_will_lie_and_for_its_images_alone(
    make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_source(random_images(30))
    asked: list[Path] = []
    usage = shutil.disk_usage(tmp_path)

    def small(path: Path) -> object:
        asked.append(path)
        return usage._replace(free=10 * (24 + 8))

    monkeypatch.setattr(shutil, "disk_usage", small)
    (tmp_path / "tables").mkdir()
    plan_table(ImageSet.of("tiny", [1]), "train", SPEC, tmp_path).write(tmp_path / "tables" / "table")
    assert asked == [tmp_path / "tables"]
    one_line(plan_table(ImageSet.of("tiny", [0, 1]), "train", SPEC, tmp_path), tmp_path / "tables" / "other")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("file", [IMAGES, LABELS, NAMES, RECORD])
def test_a_disk_that_is_full_in_the_middle_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    mkdir = Path.mkdir

    def with_a_full_file(path: Path, *arguments: object, **options: object) -> None:
        mkdir(path, *arguments, **options)  # type: ignore[arg-type]
        if path.name.endswith(".table"):
            (path / file).symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", with_a_full_file)
    told = one_line(in_memory(3000, range(3000), "stop").plan, tmp_path / "table")
    assert told.startswith(f"{tmp_path}: the disk is full (levels train); make room")


def test_another_error_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    def broken() -> Iterator[Tensor]:
        yield random_images(2, 1, (2, 2))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    origin = in_memory(1, range(1), "stop").plan.origin
    with pytest.raises(OSError, match="Input/output error"):
        PlannedTable(origin, 3, lambda: ArraySplit(np.zeros(4, dtype=np.int64), broken)).write(tmp_path / "table")


def in_child(target: Callable[..., None], *arguments: object) -> int:
    """What the target sends when a process of its own runs it."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=target, args=(*arguments, there))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert here.poll()
    answer: int = here.recv()
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
def test_an_array_that_fits_in_part_fails_for_a_reason_that_can_be_told(tmp_path: Path) -> None:
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
    spec = origin.spec.model_copy(update={"channels": 3, "height": SIDE, "width": SIDE})
    content = png(np.full((SIDE, SIDE, 3), 255, dtype=np.uint8))

    def write(n: int, name: str) -> None:
        labels = np.zeros(n, dtype=np.int64)
        split = EncodedSplit(labels, White(content)) if kind == "files" else ArraySplit(labels, lambda: white(n))
        PlannedTable(origin.model_copy(update={"spec": spec}), 1, lambda: split).write(folder / name)

    write(40, "small")  # whatever is needed however few there are
    before = peak()
    write(count, "table")
    answer.send(peak() - before)


@pytest.mark.skipif(sys.platform != "linux", reason="a fork has its own peak on Linux")
@pytest.mark.parametrize("kind", ["arrays", "files"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, kind: str) -> None:
    growth = in_child(measure, kind, tmp_path, 400)
    size = (tmp_path / "table" / IMAGES).stat().st_size
    assert size > 75 * 2**20
    assert growth < size / 2  # all images at once would take more than `size`
