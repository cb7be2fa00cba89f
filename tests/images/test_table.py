import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.rows import PackedRows, Rows
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable, TableOrigin, TableRecord
from glow_pipeline.images.table_files import (
    IMAGES,
    LABELS,
    RECORD,
    UNREADABLE,
    write_names,
    write_unreadable,
)
from tests.conftest import MakeTable, random_images

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
    images, _ = table[:2]
    (table.folder / IMAGES).unlink()
    assert torch.equal(table[:2][0], images)  # by the memory map, which holds the file


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
    write_names(folder, [[f"{row}.png" for row in range(len(images))]])
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
    assert list(subset.names or ()) == [f"{row}.png" for row in rows]
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
        n_unreadable=1,
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
        if name in TableOrigin.model_fields or name in ("image_set", "spec")
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


def test_files_named_in_a_record_are_counted(tmp_path: Path) -> None:
    """Earlier versions had them there."""
    table = written(tmp_path, noise(2))
    stored = {**json.loads(table.record.model_dump_json()), "unreadable": {"a.png": "empty file", "b.png": "gone"}}
    del stored["n_unreadable"]
    (tmp_path / RECORD).write_text(json.dumps(stored))
    of_old = ImageTable(tmp_path)
    assert of_old.record.n_unreadable == 2
    assert list(of_old.unreadable()) == [("a.png", "empty file"), ("b.png", "gone")]
    assert TableRecord.model_validate_json(of_old.record.model_dump_json()) == of_old.record


def test_unreadable_files_are_beside_the_record(tmp_path: Path) -> None:
    table = written(tmp_path, noise(2))
    assert list(table.unreadable()) == []
    write_unreadable(tmp_path / UNREADABLE, [[("a.png", "gone")]])
    assert list(table.subset(range(1)).unreadable()) == [("a.png", "gone")]


@pytest.mark.parametrize("rows", [range(10), range(2, 9), [7, 3, 3, 0]])
@pytest.mark.parametrize(
    "places", [slice(1, 3), slice(None, None, -2), [0, -1, 2], [True, False, False, True], range(1, 4), []]
)
def test_places_are_those_of_an_array_of_rows(
    tmp_path: Path, rows: range | list[int], places: slice | range | list[int]
) -> None:
    """A range of rows is indexed as the array would be that it stands for."""
    table = written(tmp_path, noise(10)).subset(rows if isinstance(rows, range) else np.array(rows))
    indices: Any = places
    if isinstance(places, list):
        masks = bool(places) and isinstance(places[0], bool)
        indices = np.resize(places, len(table)) if masks else np.array(places, dtype=np.int64)
    expected = np.array(rows)[indices]
    assert list(table.rows_at(indices)) == expected.tolist()
    assert table[indices][1].tolist() == expected.tolist()
    assert torch.equal(table[indices][0], torch.from_numpy(noise(10)[expected]))


@pytest.mark.parametrize("rows", [range(10), range(2, 9), np.array([7, 3, 5, 0]), PackedRows(np.array([90], np.uint8))])
def test_packed_places_are_those_of_an_array(tmp_path: Path, rows: Rows | PackedRows) -> None:
    table = written(tmp_path, noise(16)).of_rows(rows)
    places = PackedRows(np.packbits(np.array([True, False, True, True])))
    assert list(table.subset(places).rows) == np.asarray(list(rows))[[0, 2, 3]].tolist()


@pytest.mark.parametrize("places", [[10], [-11], [True]])
def test_places_beyond_the_table_are_refused(tmp_path: Path, places: list[int]) -> None:
    with pytest.raises(IndexError):
        written(tmp_path, noise(10))[np.array(places)]


def test_labels_can_be_changed_in_memory(tmp_path: Path) -> None:
    table = written(tmp_path, noise(10))
    table.labels.zero_()
    assert table.labels.tolist() == list(range(10))
    assert np.load(tmp_path / LABELS).tolist() == list(range(10))


def test_record_with_unknown_fields_is_refused() -> None:
    with pytest.raises(ValidationError):
        TableRecord.model_validate({**record().model_dump(), "colour": "red"})
