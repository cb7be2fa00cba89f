"""Stored rows: one a line, sorted, none lost."""

import json
from pathlib import Path

import pytest
from results.rows import RowFile

from glow_pipeline.errors import GlowPipelineError


def test_rows_are_lines_sorted_by_name(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows" / "a.json")
    file.add("two", {"z": 1, "a": [1, 2]})
    file.add("one", {"x": None})
    assert file.path.read_text() == '{\n"one": {"x": null},\n"two": {"a": [1, 2], "z": 1}\n}\n'
    assert file.read() == json.loads(file.path.read_text())


def test_new_row_replaces_its_namesake_alone(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "a.json")
    for name, value in (("one", 1), ("two", 2), ("one", 3)):
        file.add(name, {"value": value})
    assert file.read() == {"one": {"value": 3}, "two": {"value": 2}}


def test_absent_file_has_no_rows(tmp_path: Path) -> None:
    assert RowFile(tmp_path / "a.json").read() == {}


@pytest.mark.parametrize("text", ["[]", '{"one": 1}', "<<<<<<< HEAD"])
def test_file_without_rows_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(GlowPipelineError, match=r"a\.json: .*; git checkout restores it"):
        RowFile(tmp_path / "a.json").read()


@pytest.mark.parametrize("name", ["one", "two"])
def test_any_line_may_be_deleted(tmp_path: Path, name: str) -> None:
    file = RowFile(tmp_path / "a.json")
    for each in ("one", "two"):
        file.add(each, {"value": 1})
    lines = file.path.read_text().splitlines(keepends=True)
    file.path.write_text("".join(line for line in lines if not line.startswith(f'"{name}"')))
    assert file.read().keys() == {"one", "two"} - {name}


def test_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"one": ')
    with pytest.raises(GlowPipelineError, match=r"a\.json: .*; git checkout restores it"):
        RowFile(tmp_path / "a.json").read()
