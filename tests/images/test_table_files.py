import json
from pathlib import Path

import numpy as np
import pytest

from glow_pipeline.files import sha256
from glow_pipeline.images.rows import Rows
from glow_pipeline.images.table_files import (
    FEW_NAMES,
    IN_GROUP,
    NAMES,
    PartFile,
    images_file,
    read_names,
    read_parts,
    read_unreadable,
    write_names,
    write_parts,
    write_unreadable,
)

COUNT = 2 * IN_GROUP + 3  # three groups


def name(row: int) -> str:
    return f"画/{row:06}.png"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / NAMES
    write_names(path.parent, (map(name, range(COUNT)[first : first + 1000]) for first in range(0, COUNT, 1000)))
    return path


@pytest.mark.parametrize(
    "rows",
    [
        range(COUNT),
        range(IN_GROUP - 1, IN_GROUP + 1),
        range(7, 0, -3),
        range(0),
        np.array([0, 5, 5, IN_GROUP - 1, IN_GROUP, COUNT - 1]),
        np.array([COUNT - 1, 3, IN_GROUP, 3], dtype=np.int32),
        np.array([], dtype=np.int64),
    ],
    ids=["all", "across groups", "backwards", "none", "in order", "in any order", "empty"],
)
def test_names_are_those_of_the_rows(names: Path, rows: Rows) -> None:
    found = read_names(names, rows)
    assert list(found) == [name(row) for row in rows]
    assert len(found) == len(rows)


def test_single_names_and_slices_can_be_read(names: Path) -> None:
    found = read_names(names, range(COUNT))
    assert (found[0], found[-1], found[IN_GROUP]) == (name(0), name(COUNT - 1), name(IN_GROUP))
    assert list(found[IN_GROUP - 1 : IN_GROUP + 1]) == [name(IN_GROUP - 1), name(IN_GROUP)]
    with pytest.raises(IndexError):
        found[COUNT]


def test_names_do_not_depend_on_the_chunks(names: Path, tmp_path: Path) -> None:
    write_names(tmp_path, [map(name, range(COUNT))])
    assert sha256(tmp_path / "names.parquet") == sha256(names)


def test_names_of_earlier_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / FEW_NAMES).write_text(json.dumps(["a.png", "b.png", "c.png"]), encoding="utf-8")
    assert list(read_names(tmp_path / FEW_NAMES, np.array([2, 0]))) == ["c.png", "a.png"]


def test_parts_are_read_as_they_are_written(tmp_path: Path) -> None:
    parts = [PartFile(images_file(part), 10 + part, "0" * 64) for part in range(3)]
    write_parts(tmp_path / "parts.parquet", parts)
    assert read_parts(tmp_path / "parts.parquet") == parts
    assert [part.file for part in parts] == ["images-00000.npy", "images-00001.npy", "images-00002.npy"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_unreadable_files_are_read_as_they_are_written(tmp_path: Path, count: int) -> None:
    files = [(f"{index}.png", "is empty") for index in range(count)]
    write_unreadable(tmp_path / "unreadable.parquet", [files[:1], [], files[1:]])
    assert list(read_unreadable(tmp_path / "unreadable.parquet")) == files


@pytest.mark.parametrize("count", [0, 1, IN_GROUP, IN_GROUP + 1])
def test_few_names_are_text(tmp_path: Path, count: int) -> None:
    write_names(tmp_path, [map(name, range(count))])
    (file,) = tmp_path.iterdir()
    assert file.name == (FEW_NAMES if count <= IN_GROUP else NAMES)
    assert list(read_names(file, range(count))) == [name(row) for row in range(count)]
