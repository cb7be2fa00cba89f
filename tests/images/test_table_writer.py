import re
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.files import sha256
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.file_formats import ARRAY
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable, OnUnreadable, TableOrigin
from glow_pipeline.images.table_files import FEW_NAMES, IMAGES, LABELS, RECORD
from glow_pipeline.images.table_writer import plan_table
from tests.conftest import MakeSource, random_images
from tests.images.pictures import deep_png, encoded
from tests.images.plans import IMAGE_FORMAT, as_prepared, one_line, picture_folder, pixels, png

# From images in arrays --------------------------------------------------------------------------


def test_table_has_the_prepared_images_and_labels(make_source: MakeSource, tmp_path: Path) -> None:
    images = random_images(23, 3, (10, 9))
    plan_table(make_source(images, chunk=10), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert len(table) == 23
    got, labels = table[:]
    assert got.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(got, prepare(images, IMAGE_FORMAT))
    assert torch.equal(labels, torch.arange(23) % 3)


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_any_size_and_colour_get_one_format(make_source: MakeSource, tmp_path: Path, fit: str) -> None:
    image_format = ImageFormat.model_validate({**IMAGE_FORMAT.model_dump(), "fit": fit})
    inside, outside = random_images(5, 1, (28, 28)), random_images(5, 3, (8, 17))
    for name, images in (("inside", inside), ("outside", outside)):
        plan_table(make_source(images, name=name), "test", image_format, tmp_path).write(tmp_path / name)
        table = ImageTable(tmp_path / name)
        assert table.record.image_format == image_format
        assert torch.equal(table[:][0], prepare(images, image_format))


def test_record_states_origin_and_content(make_source: MakeSource, tmp_path: Path) -> None:
    plan = plan_table(make_source(random_images(3)), "test", IMAGE_FORMAT, tmp_path)
    plan.write(tmp_path / "table")
    record = ImageTable(tmp_path / "table").record
    assert record.origin == plan.origin
    assert (record.name, record.split, record.count, record.num_classes) == ("tiny", "test", 3, 3)
    assert (record.own_validation, record.n_unreadable, record.on_unreadable) == (0, 0, "stop")
    assert record.image_format == IMAGE_FORMAT
    assert record.image_selection == ImageSelection.of("tiny")
    assert record.source_files == {"tiny.bin": sha256(tmp_path / "raw" / "tiny.bin")}
    assert torch.__version__.startswith(record.made_with["torch"])
    assert record.file_formats is not None
    assert (record.file_formats.kinds, record.file_formats.count) == ({ARRAY: 3}, 3)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_findings_of_all_files_are_in_the_record(tmp_path: Path, num_workers: int) -> None:
    images = picture_folder(tmp_path / "pictures", 260)
    for name, content in (
        ("0001.png", deep_png(np.array([[[100]], [[5000]]], dtype=np.uint16))),
        ("0002.png", encoded(np.zeros((3, 4, 4), dtype=np.uint8), "PNG")),
        ("0003.gif", encoded(Image.new("L", (5, 5)), "GIF", save_all=True, append_images=[Image.new("L", (5, 5), 9)])),
    ):
        (tmp_path / "pictures" / "a" / name).write_bytes(content)
    image_format = IMAGE_FORMAT.model_copy(update={"range": (0, 4095)})
    plan_table(images, "test", image_format, tmp_path, num_workers=num_workers).write(tmp_path / "table")
    record = ImageTable(tmp_path / "table").record
    assert record.findings == Findings(
        transparent=1, paged=1, further_pages=1, deep=1, deep_values=2, clipped=1, lowest=100, highest=5000
    )
    assert record.file_formats is not None
    assert record.file_formats.kinds == {"PNG": 260, "GIF": 1}


def test_origins_are_equal_when_the_tables_would_be(make_source: MakeSource, tmp_path: Path) -> None:
    def origin(
        content: bytes = b"one",
        split: str = "train",
        n_bits: int = 3,
        fit: str = "resize",
        classes: list[int] | None = None,
        on_unreadable: OnUnreadable = "stop",
        num_workers: int = 0,
        max_pixels: int = MAX_PIXELS,
        **of_format: object,
    ) -> TableOrigin:
        image_format = ImageFormat.model_validate(
            {**IMAGE_FORMAT.model_dump(), "n_bits": n_bits, "fit": fit, **of_format}
        )
        make_source(random_images(3), content=content)
        images = ImageSelection.of("tiny", classes)
        return plan_table(
            images,
            "train" if split == "train" else "test",
            image_format,
            tmp_path,
            on_unreadable,
            num_workers,
            max_pixels,
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
        origin(max_pixels=100),
        origin(range=(0, 4095)),
        origin(background="black"),
    ]
    assert all(other != origin() for other in others)


def test_tables_of_equal_origin_are_identical(make_source: MakeSource, tmp_path: Path) -> None:
    for name, chunk in (("a", 10), ("b", 4)):
        plan_table(make_source(random_images(13), chunk=chunk), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / name)
    for file in (IMAGES, LABELS, RECORD):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("n_labels", [20, 22, 24, 31])
@pytest.mark.parametrize("classes", [None, [1]])
def test_unequal_numbers_of_labels_are_refused(
    make_source: MakeSource, tmp_path: Path, n_labels: int, classes: list[int] | None
) -> None:
    make_source(random_images(23), n_labels=n_labels)
    plan = plan_table(ImageSelection.of("tiny", classes), "train", IMAGE_FORMAT, tmp_path)
    message = one_line(plan, tmp_path / "table")
    assert re.match(rf"tiny(_class_1)? train: {n_labels} labels but 23 images; fetch ", message)


def test_planning_decodes_nothing(make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("an image was prepared")

    monkeypatch.setattr("glow_pipeline.images.split_images.prepare", refuse)
    plan = plan_table(make_source(random_images(3)), "train", IMAGE_FORMAT, tmp_path)
    with pytest.raises(AssertionError, match="prepared"):
        plan.write(tmp_path / "table")


# Some classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 10, 100])
@pytest.mark.parametrize("classes", [[0], [2], [0, 2], [0, 1, 2], [1, 7]])
def test_table_of_some_classes_has_their_images(
    make_source: MakeSource, tmp_path: Path, classes: list[int], chunk: int
) -> None:
    images = random_images(23)
    make_source(images, chunk=chunk)
    plan_table(ImageSelection.of("tiny", classes), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    rows = [row for row in range(23) if row % 3 in classes]
    assert torch.equal(table[:][0], prepare(images, IMAGE_FORMAT)[rows])
    assert table.labels.tolist() == [row % 3 for row in rows]
    assert table.record.count == len(rows)
    assert table.record.image_selection.classes == tuple(classes)
    assert table.record.num_classes == 3  # labels keep their meaning


def test_classes_without_images_are_refused(make_source: MakeSource, tmp_path: Path) -> None:
    make_source(random_images(23))
    plan = plan_table(ImageSelection.of("tiny", [5, 7]), "test", IMAGE_FORMAT, tmp_path)
    message = one_line(plan, tmp_path / "table")
    assert message == "tiny_class_5_7 test: no image is of class 5, 7; its images are of 0, 1, 2"


@pytest.mark.parametrize("classes", [None, [0], [1, 2]])
@pytest.mark.parametrize("own_validation", [0, 1, 5, 23])
def test_own_validation_images_of_classes_are_counted(
    make_source: MakeSource, tmp_path: Path, classes: list[int] | None, own_validation: int
) -> None:
    make_source(random_images(23), own_validation=own_validation)
    plan_table(ImageSelection.of("tiny", classes), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / "table")
    own = [row for row in range(23 - own_validation, 23) if classes is None or row % 3 in classes]
    assert ImageTable(tmp_path / "table").record.own_validation == len(own)


# From encoded images ----------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 2])
def test_files_are_prepared_like_arrays(tmp_path: Path, num_workers: int) -> None:
    images = picture_folder(tmp_path / "pictures", 301)
    plan_table(images, "test", IMAGE_FORMAT, tmp_path, num_workers=num_workers).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert torch.equal(table[:][0], as_prepared(list(range(301))))
    assert table.labels.tolist() == [0] * 151 + [1] * 150
    assert list(table.names or ()) == [str(Path("a" if row < 151 else "b") / f"{row:04}.png") for row in range(301)]
    assert table.record.num_classes == 2
    assert list(table.record.source_files) == ["pictures"]


def test_some_classes_of_files_are_written(tmp_path: Path) -> None:
    images = picture_folder(tmp_path / "pictures", 9).model_copy(update={"classes": ("b",)})
    plan_table(images, "test", IMAGE_FORMAT, tmp_path).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert torch.equal(table[:][0], as_prepared([5, 6, 7, 8]))
    assert table.labels.tolist() == [1] * 4
    assert list(table.names or ()) == [str(Path("b") / f"000{row}.png") for row in (5, 6, 7, 8)]


def test_names_are_stored_printable(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("画,像.png", "new\nline.png"):
        (folder / name).write_bytes(png(pixels(0)))
    plan_table(ImageSelection.of_folder(str(folder), str(folder), 10.0, 0), "test", IMAGE_FORMAT, tmp_path).write(
        tmp_path / "table"
    )
    assert list(ImageTable(tmp_path / "table").names or ()) == [r"new\nline.png", "画,像.png"]


def test_images_of_arrays_have_no_names(make_source: MakeSource, tmp_path: Path) -> None:
    plan_table(make_source(random_images(3)), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / "table")
    assert not (tmp_path / "table" / FEW_NAMES).exists()
    assert ImageTable(tmp_path / "table").names is None
