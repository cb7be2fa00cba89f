"""Files that are written completely or not at all."""

import hashlib
import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import link_or_copy, replaced_between, sha256, written_whole


def write_half(path: Path, error: BaseException) -> NoReturn:
    with written_whole(path) as temporary:
        temporary.write_text("half")
        raise error


def write_folder(path: Path, error: BaseException | None = None) -> None:
    with written_whole(path) as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "a").write_text("a")
        (temporary / "b").write_text("b")
        if error is not None:
            raise error


def test_written_file_is_alone_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with written_whole(path) as temporary:
        temporary.write_text("complete")
    assert path.read_text() == "complete"
    assert list(path.parent.iterdir()) == [path]


def test_name_is_free_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with written_whole(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix


def test_reader_sees_old_file_until_new_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with written_whole(path) as temporary, temporary.open("w") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
        file.write(" and longer")
    assert path.read_text() == "new and longer"


def test_exception_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with pytest.raises(RuntimeError, match="half way"):
        write_half(path, RuntimeError("half way"))
    assert list(tmp_path.iterdir()) == []


def test_exception_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path, KeyboardInterrupt())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    path = tmp_path / "file.txt"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # stands in for a full disk
    try:
        with pytest.raises(GlowPipelineError) as error, written_whole(path) as temporary:
            temporary.write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(error.value).startswith(f"{path}: cannot be written (")
    assert "\n" not in str(error.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_exception_before_writing_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="at once"), written_whole(tmp_path / "file.txt"):
        raise RuntimeError("at once")
    assert list(tmp_path.iterdir()) == []


def test_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "file.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folder_is_written_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "table"
    write_folder(path)
    assert (path / "inner" / "a").read_text() == "a"
    assert (path / "b").read_text() == "b"
    assert list(tmp_path.iterdir()) == [path]


def test_exception_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        write_folder(tmp_path / "table", RuntimeError("half way"))
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(OSError):  # noqa: PT011  # its number and words differ by system
        write_folder(path)
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_every_file_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table"
    flushed: list[tuple[int, bool]] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    write_folder(path)
    within = [path, path / "inner", path / "inner" / "a", path / "b"]
    assert {inode for inode, renamed in flushed if not renamed} == {part.stat().st_ino for part in within}
    assert [inode for inode, renamed in flushed if renamed] == [tmp_path.stat().st_ino]


@given(st.binary(max_size=100))
def test_sha256_is_that_of_hashlib(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("sha") / "file"
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()


def test_sha256_of_a_file_larger_than_any_buffer(tmp_path: Path) -> None:
    content = os.urandom(1_000_003)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_link_gives_the_file_a_second_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_ino == (tmp_path / "a").stat().st_ino


def test_copy_replaces_impossible_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("content")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
    assert (tmp_path / "b").stat().st_ino != (tmp_path / "a").stat().st_ino


def test_text_between_lines_is_replaced() -> None:
    assert replaced_between("a\n<\nold\n>\nb\n>\n", "<\n", ">\n", "new\n") == "a\n<\nnew\n>\nb\n>\n"


@pytest.mark.parametrize("text", ["a\n<\nold\n", "a\nold\n>\n"])
def test_page_without_a_mark_is_refused(text: str) -> None:
    with pytest.raises(GlowPipelineError, match="a page lacks < or >, between which text is written"):
        replaced_between(text, "<\n", ">\n", "new\n")
