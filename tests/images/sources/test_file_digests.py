import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from glow_pipeline.files import sha256
from glow_pipeline.images.sources import file_digests as module
from glow_pipeline.images.sources.file_digests import file_digests
from glow_pipeline.images.sources.kept_digests import KeptDigests
from glow_pipeline.images.sources.names import Names
from tests.images.conftest import wait_for_later_times

NAMES = [f"{k}.png" for k in range(5)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that were not changed for long, as far as the digests can know."""
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.setattr(module, "RECENT", -60.0)
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def recorded(path: Path) -> str:
        names.append(path.name)
        return sha256(path)

    monkeypatch.setattr(module, "sha256", recorded)
    return names


def digest(content: str) -> list[int]:
    return list(hashlib.sha256(content.encode()).digest())


def test_digests_are_those_of_the_files(folder: Path) -> None:
    found = file_digests(folder, Names(NAMES), KeptDigests())
    assert found.dtype == np.uint8
    assert found.tolist() == [digest(name) for name in NAMES]


def test_unreadable_files_have_a_digest_of_their_own(folder: Path) -> None:
    (folder / NAMES[1]).unlink()
    found = file_digests(folder, Names(NAMES), KeptDigests()).tolist()
    assert found[1] == digest("unreadable 2")
    assert len({tuple(one) for one in found}) == len(NAMES)


def test_files_are_read_once_in_a_command(folder: Path, read: list[str]) -> None:
    kept = KeptDigests(verify="contents")
    first, second, third = (file_digests(folder, Names(NAMES), kept) for _ in range(3))
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert sorted(read) == NAMES


def test_changed_files_are_read_again(folder: Path, read: list[str]) -> None:
    kept = KeptDigests()
    file_digests(folder, Names(NAMES), kept)
    read.clear()
    (folder / NAMES[2]).write_bytes(b"longer than it was")
    content = (folder / NAMES[3]).read_bytes()
    (folder / NAMES[3]).unlink()
    (folder / NAMES[3]).write_bytes(content[::-1])
    os.utime(folder / NAMES[3], (2, 2))
    os.utime(folder / NAMES[4], (1, 1))
    found = file_digests(folder, Names(NAMES), kept)
    assert set(read) == {NAMES[2], NAMES[3], NAMES[4]}
    assert found[3].tolist() == digest(NAMES[3][::-1])


def test_restored_time_stamp_hides_no_change(folder: Path, read: list[str]) -> None:
    kept, changed = KeptDigests(), folder / NAMES[1]
    file_digests(folder, Names(NAMES), kept)
    read.clear()
    before = changed.stat()
    wait_for_later_times(changed, folder / "clock")
    changed.write_bytes(changed.read_bytes()[::-1])
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = changed.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert file_digests(folder, Names(NAMES), kept)[1].tolist() == digest(NAMES[1][::-1])
    assert read == [NAMES[1]]


def test_files_of_another_name_and_folder_are_read(folder: Path, read: list[str]) -> None:
    kept = KeptDigests()
    (folder / "sub").mkdir()
    file_digests(folder, Names(NAMES[1:]), kept)
    file_digests(folder, Names(NAMES), kept)
    assert sorted(read) == NAMES
    (folder / "sub" / NAMES[0]).write_bytes(b"")
    file_digests(folder / "sub", Names(NAMES[:1]), kept)
    assert len(read) == 6


def test_files_that_were_just_changed_are_read_again(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECENT", 60.0)
    kept = KeptDigests()
    for _ in range(2):
        file_digests(folder, Names(NAMES), kept)
    assert len(read) == 10


def test_unreadable_file_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptDigests()

    def refused(_path: Path) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as share_that_fails:
        share_that_fails.setattr(module, "sha256", refused)
        assert file_digests(folder, Names(NAMES), kept)[0].tolist() == digest("unreadable 5")
    assert file_digests(folder, Names(NAMES), kept)[0].tolist() == digest(NAMES[0])


def test_next_command_reads_changed_files_alone(
    folder: Path, read: list[str], tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path_factory.mktemp("listings")
    first = file_digests(folder, Names(NAMES), KeptDigests(place))
    read.clear()
    with caplog.at_level("INFO"):
        kept = KeptDigests(place)
        assert np.array_equal(file_digests(folder, Names(NAMES), kept), first)
        assert not read
        assert "5 of 5 files have not changed and are not read again" in caplog.text
        caplog.clear()
        file_digests(folder, Names(NAMES), kept)
    assert "not read again" not in caplog.text, "this command has said so, or has read them itself"
    (folder / NAMES[2]).write_bytes(b"changed")
    names = Names(["new.png", *NAMES[1:]])
    (folder / "new.png").write_bytes(b"new")
    for _ in range(2):
        found = file_digests(folder, names, KeptDigests(place))
        assert found[[0, 2]].tolist() == [digest("new"), digest("changed")]
        assert np.array_equal(found[[1, 3, 4]], first[[1, 3, 4]])
    assert sorted(read) == [NAMES[2], "new.png"]


def test_each_command_reads_all_contents_where_asked(
    folder: Path, read: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("listings")
    first, second = (file_digests(folder, Names(NAMES), KeptDigests(place, "contents")) for _ in range(2))
    assert len(read) == 10
    assert np.array_equal(first, second)
    file_digests(folder, Names(NAMES), KeptDigests(place, "listing"))
    assert len(read) == 10, "contents writes the listing too"
