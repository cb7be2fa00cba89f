import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import (
    CONTENT,
    IMAGES,
    LABELS,
    NAMES,
    RECORD,
    ImageTable,
    TableOrigin,
    TableRecord,
    count_copies,
    split_validation,
)
from glow_pipeline.images.table_writer import plan_table
from tests.conftest import MakeSource, MakeTable, random_images

IMAGE_FORMAT = ImageFormat(channels=1, height=2, width=2, n_bits=8, fit="resize")


def test_opening_a_table_reads_no_pixel(make_table: MakeTable) -> None:
    folder = make_table(random_images(5), 8).folder
    for file in (IMAGES, LABELS):
        (folder / file).unlink()
    table = ImageTable(folder)
    assert (len(table), len(table.subset(np.array([1, 2])))) == (5, 2)
    assert repr(table) == "ImageTable(tiny train, 5 images 1x8x8_8bit_resize)"
    with pytest.raises(FileNotFoundError):
        table[:1]


def test_pixels_are_read_on_request(make_table: MakeTable) -> None:
    table = make_table(random_images(5), 8)
    table[:1]
    assert isinstance(table._images, np.memmap)
    assert not table._images.flags.writeable


def test_labels_need_no_images(make_table: MakeTable) -> None:
    table = make_table(random_images(5), 8)
    (table.folder / IMAGES).unlink()
    assert table.labels.tolist() == [0, 1, 2, 0, 1]
    assert table.labels.dtype == torch.int64
    assert table.subset(np.array([4, 2])).labels.tolist() == [1, 2]


def test_returned_images_are_copies(make_table: MakeTable) -> None:
    images = random_images(5)
    table = make_table(images, 8)
    got, labels = table[1:3]
    got.zero_()
    labels.zero_()
    table.labels.zero_()
    assert torch.equal(table[:][0], images)
    assert table[:][1].tolist() == [0, 1, 2, 0, 1]


def written(folder: Path, images: NDArray[np.uint8], own_validation: int = 0) -> ImageTable:
    """A table as the format has it, by hand: label and name of an image are its row."""
    np.save(folder / IMAGES, images)
    np.save(folder / LABELS, np.arange(len(images)))
    (folder / NAMES).write_text(json.dumps([f"{row}.png" for row in range(len(images))]))
    record = {
        "image_selection": {"source": "s"},
        "split": "train",
        "image_format": IMAGE_FORMAT.model_dump(),
        "source_files": {},
        "on_unreadable": "stop",
        "made_with": {},
        "count": len(images),
        "num_classes": len(images),
        "own_validation": own_validation,
    }
    (folder / RECORD).write_text(json.dumps(record))
    return ImageTable(folder)


def of_folder(folder: Path, images: NDArray[np.uint8]) -> ImageTable:
    """A table of a folder's images, by hand."""
    folder.mkdir()
    table = written(folder, images)
    np.save(folder / CONTENT, content_hash(torch.from_numpy(images)).numpy())
    image_selection = ImageSelection.of_folder("/data/cats", None, 10.0, 0)
    (folder / RECORD).write_text(table.record.model_copy(update={"image_selection": image_selection}).model_dump_json())
    return ImageTable(folder)


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 2, 2), dtype=np.uint8)


@given(st.lists(st.integers(0, 9), max_size=12), st.data())
def test_subset_is_an_ordered_view(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], data: st.DataObject
) -> None:
    images = noise(10)
    table = written(tmp_path_factory.mktemp("subset"), images)
    within = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5) if rows else st.just([]))
    wanted = np.array(rows, dtype=np.int64)
    subset = table.subset(wanted)
    assert np.array_equal(subset[:][0].numpy(), images[wanted])
    assert subset[:][1].tolist() == rows
    assert subset.labels.tolist() == rows
    assert subset.names == [f"{row}.png" for row in rows]
    again = subset.subset(np.array(within, dtype=np.int64))
    assert again[:][1].tolist() == [rows[i] for i in within]


def test_table_without_files_has_no_names(make_table: MakeTable) -> None:
    assert make_table(random_images(5), 8).names is None


def test_pickle_has_a_path_and_no_pixels(make_table: MakeTable) -> None:
    images = random_images(200, 1, (32, 32))
    table = make_table(images, 8).subset(np.array([7, 3, 100]))
    table[:]  # the memory map is open
    pickled = pickle.dumps(table)
    assert len(pickled) < 4096 < images.numel()
    again = pickle.loads(pickled)
    assert again.record == table.record
    assert torch.equal(again[:][0], images[[7, 3, 100]])
    assert torch.equal(again[:][1], table[:][1])


# Record -----------------------------------------------------------------------------------------


def record(count: int = 3) -> TableRecord:
    return TableRecord(
        image_selection=ImageSelection.of_folder("/data/cats", None, 12.5, 7, [1, 0]),
        split="test",
        image_format=IMAGE_FORMAT,
        source_files={"cats": "00ff"},
        on_unreadable="skip",
        made_with={"torch": "2"},
        count=count,
        num_classes=9,
        own_validation=2,
        unreadable={"a.png": "empty file"},
    )


def test_record_survives_json() -> None:
    assert TableRecord.model_validate_json(record().model_dump_json(indent=2)) == record()


def test_origin_excludes_what_images_show() -> None:
    one, other = record(3), record(4)
    assert one != other
    assert type(one.origin) is TableOrigin
    assert one.origin == other.origin
    assert one.origin.model_dump() == {
        name: value
        for name, value in one.model_dump().items()
        if name
        not in ("count", "num_classes", "own_validation", "class_names", "unreadable", "passed_over", "findings")
    }


def test_a_table_is_called_as_its_images_are() -> None:
    assert record().name == record().origin.name == record().image_selection.key


def test_record_keeps_its_names_in_files() -> None:
    """Tables of all versions have `image_set` and `spec`."""
    stored = {
        "image_set": {"source": "mnist"},
        "split": "train",
        "spec": IMAGE_FORMAT.model_dump(),
        "source_files": {},
        "on_unreadable": "stop",
        "made_with": {},
        "count": 3,
        "num_classes": 10,
    }
    record = TableRecord.model_validate_json(json.dumps(stored))
    assert (record.image_selection, record.image_format) == (ImageSelection.of("mnist"), IMAGE_FORMAT)
    assert TableRecord.model_validate_json(record.model_dump_json()) == record
    assert stored.keys() <= json.loads(record.model_dump_json()).keys()


def test_record_with_unknown_fields_is_refused() -> None:
    with pytest.raises(ValidationError):
        TableRecord.model_validate({**record().model_dump(), "colour": "red"})


# Validation -------------------------------------------------------------------------------------


def rows(table: ImageTable, percentage: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    fit, val = split_validation(table, percentage, seed)
    return fit.rows, val.rows


@pytest.mark.parametrize(
    ("percentage", "n_val"), [(10.0, 4), (25.0, 10), (0.1, 1), (50.0, 20), (99.9, 39), (100.0, 39)]
)
def test_validation_is_a_disjoint_percentage(make_table: MakeTable, percentage: float, n_val: int) -> None:
    fit, val = rows(make_table(random_images(40), 8), percentage, 0)
    assert len(val) == n_val
    assert sorted([*fit, *val]) == list(range(40))
    assert list(fit) == sorted(fit)
    assert list(val) == sorted(val)


def test_validation_images_are_drawn_by_the_seed_alone(make_table: MakeTable) -> None:
    table = make_table(random_images(40), 8)
    drawn = [tuple(rows(table, 25, seed)[1]) for seed in (0, 1, 2)]
    assert len(set(drawn)) == 3
    assert [tuple(rows(table, 25, seed)[1]) for seed in (0, 1, 2)] == drawn


def test_validation_images_come_from_all_over_the_table(make_table: MakeTable) -> None:
    table = make_table(random_images(40), 8)
    drawn = np.bincount(np.concatenate([rows(table, 25, seed)[1] for seed in range(200)]), minlength=40)
    assert drawn.min() > 25  # 50 are expected, with a standard deviation of 6.1
    assert drawn.max() < 75


def test_validation_images_are_of_the_table(make_table: MakeTable) -> None:
    images = random_images(12)
    fit, val = split_validation(make_table(images, 8), 25, 0)
    assert torch.equal(fit[:][0], images[fit.rows])
    assert torch.equal(val[:][0], images[val.rows])


@pytest.mark.parametrize("own_validation", [1, 3, 11])
def test_own_validation_split_precedes_percentage_and_seed(tmp_path: Path, own_validation: int) -> None:
    table = written(tmp_path, noise(12), own_validation)
    for percentage, seed in ((25.0, 0), (50.0, 1)):
        fit, val = split_validation(table, percentage, seed)
        assert fit.labels.tolist() == list(range(12 - own_validation))
        assert val.labels.tolist() == list(range(12 - own_validation, 12))


def test_own_validation_split_follows_the_classes(make_source: MakeSource, tmp_path: Path) -> None:
    images = random_images(20)
    make_source(images, own_validation=8)
    plan_table(ImageSelection.of("tiny", [1]), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / "table")
    fit, val = split_validation(ImageTable(tmp_path / "table"), 10, 0)
    assert (len(fit), len(val)) == (4, 3)  # rows 1, 4, 7, 10 and 13, 16, 19


def test_table_of_validation_images_alone_is_split(tmp_path: Path) -> None:
    """As with chosen classes that occur in the validation split alone."""
    fit, val = rows(written(tmp_path, noise(12), own_validation=12), 25, 0)
    assert (len(fit), len(val)) == (9, 3)
    assert sorted([*fit, *val]) == list(range(12))


@pytest.mark.parametrize("own_validation", [0, 1])
def test_one_image_cannot_be_split(tmp_path: Path, own_validation: int) -> None:
    with pytest.raises(GlowPipelineError, match=r"^s: 1 image .*; give it two at least$") as raised:
        rows(written(tmp_path, noise(1), own_validation), 25, 0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("own_validation", [0, 1])
@pytest.mark.parametrize("percentage", [0.1, 50, 99])
def test_two_images_are_enough(tmp_path: Path, own_validation: int, percentage: float) -> None:
    fit, val = rows(written(tmp_path, noise(2), own_validation), percentage, 0)
    assert (len(fit), len(val)) == (1, 1)


# Validation and copies in folders ---------------------------------------------------------------


def test_validation_images_stay_when_images_are_added(tmp_path: Path) -> None:
    many = noise(200)
    fit, val = split_validation(of_folder(tmp_path / "many", many), 25, 0)
    few_fit, few_val = split_validation(of_folder(tmp_path / "few", many[50:130]), 25, 0)
    assert set(few_fit.rows + 50) <= set(fit.rows)
    assert set(few_val.rows + 50) <= set(val.rows)
    assert 30 < len(val) < 70
    assert sorted([*fit.rows, *val.rows]) == list(range(200))


def test_copies_are_never_split_between_training_and_validation(tmp_path: Path) -> None:
    table = of_folder(tmp_path / "table", np.tile(noise(40), (2, 1, 1, 1)))
    fit, val = split_validation(table, 25, 3)
    assert set(val.rows % 40).isdisjoint(fit.rows % 40)
    assert count_copies(fit, val, val).model_dump() == {
        "train_copies": 40,
        "val_copies_of_fit": 0,
        "test_copies_of_train": len(val),
    }


def test_copies_of_one_image_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GlowPipelineError, match=r"^folder_cats: its 3 images are copies of one"):
        split_validation(of_folder(tmp_path / "table", np.tile(noise(1), (3, 1, 1, 1))), 25, 0)
