"""Listing of the files to judge: folders, files, patterns, odd names, links."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.verdict.listing import check_listed, list_files, list_name

ODD = ["a, b.png", "ümläut.PNG", "set [1].png", "x#y=z.png", "two\nlines.png", "no suffix", "=1+1.png"]


def listed(typed: Path | str) -> list[str]:
    found = list_files(str(typed))
    return [found.names[i] for i in range(len(found))]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_every_regular_file_of_a_folder_is_listed(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.txt", "sub/c.dcm", "sub/deeper/d")
    assert listed(tmp_path) == ["a.txt", "b.png", "sub/c.dcm", "sub/deeper/d"]


def test_hidden_system_and_special_files_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".hidden.png", "Thumbs.db", "@eaDir/thumb.png", ".git/x.png")
    os.mkfifo(tmp_path / "pipe")
    found = list_files(str(tmp_path))
    assert len(found) == 1
    assert found.left_out == "2 hidden, 1 @eaDir/, 1 Thumbs.db, 1 special"


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_listed_alone_and_in_folders(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert listed(tmp_path) == listed(tmp_path / name) == [name]


def test_names_that_are_not_utf8_are_listed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    assert [os.fsencode(name) for name in listed(tmp_path)] == [b"\xff.png"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "outside/b.png")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nothing")
    assert listed(tmp_path / "in") == ["a.png", "broken.png", "link.png", "more/b.png"]
    assert set(listed(tmp_path / "in" / "**" / "b.png")) == {"more/b.png"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["a.png"]),
        ("*/*.png", ["x/b.png"]),
        ("**/*.png", ["a.png", "x/b.png", "x/y/c.png"]),
        ("x/**", ["b.png", "y/c.png", "y/d.jpg"]),
        ("x/**/[cd].*", ["y/c.png", "y/d.jpg"]),
        ("?.png", ["a.png"]),
    ],
)
def test_patterns_match_as_in_a_shell(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(tmp_path, "a.png", "x/b.png", "x/y/c.png", "x/y/d.jpg", ".h.png")
    assert listed(tmp_path / pattern) == expected


def test_an_existing_path_is_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "set [1]/a.png", "set 1/b.png", "set [1]/c.jpg")
    assert listed(tmp_path / "set [1]") == ["a.png", "c.jpg"]
    assert listed(tmp_path / "set [1]" / "*.png") == ["a.png"]


@pytest.mark.parametrize("typed", ["nowhere", "*.jpg", "a.png/b.png", "empty", "**/*.gif"])
def test_nothing_to_list_is_refused(tmp_path: Path, typed: str) -> None:
    touch(tmp_path, "a.png", "empty/.hidden")
    for check in (list_files, check_listed):
        with pytest.raises(GlowPipelineError, match=r"^score\.images=.*: no (such )?file") as error:
            check(str(tmp_path / typed))
        assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_listed(tmp_path: Path) -> None:
    touch(tmp_path, "closed/a.png", "b.png")
    (tmp_path / "closed").chmod(0)
    try:
        assert listed(tmp_path) == ["b.png", "closed/"]
        assert listed(tmp_path / "**" / "*.png") == ["b.png", "closed/"]
        with pytest.raises(GlowPipelineError, match="closed: Permission denied"):
            listed(tmp_path / "closed")
        assert listed(tmp_path / "*" / "*.png") == listed(tmp_path / "clos*" / "**") == ["closed/"]
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GlowPipelineError, match="neither a file nor a folder"):
        list_files(str(tmp_path / "pipe"))


def test_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "mine/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert listed("~/mine") == listed("mine") == listed("./mine/../mine/") == ["a.png"]
    assert list_files("mine").folder == tmp_path / "mine"


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("/data/scans", "scans"),
        ("/data/scans/", "scans"),
        ("/data/a b.png", "a_b_png"),
        ("/data/scans/*.png", "scans_png"),
        (None, "none"),
    ],
)
def test_name_of_a_list(typed: str | None, name: str) -> None:
    assert list_name(typed) == name


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_name_is_one_part_of_a_path(typed: str) -> None:
    name = list_name(typed)
    assert name
    assert Path(name).name == name
