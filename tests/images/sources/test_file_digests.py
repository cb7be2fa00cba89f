import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from glow_pipeline.files import sha256
from glow_pipeline.images.sources import file_digests as module
from glow_pipeline.images.sources.file_digests import file_digests
from glow_pipeline.images.sources.names import Names

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
    found = file_digests(folder, Names(NAMES))
    assert found.dtype == np.uint8
    assert found.tolist() == [digest(name) for name in NAMES]


def test_unreadable_files_have_a_digest_of_their_own(folder: Path) -> None:
    (folder / NAMES[1]).unlink()
    found = file_digests(folder, Names(NAMES)).tolist()
    assert found[1] == digest("unreadable 2")
    assert len({tuple(one) for one in found}) == len(NAMES)


def test_files_are_read_once_for_two_splits(folder: Path, read: list[str]) -> None:
    first, second, third = (file_digests(folder, Names(NAMES), reuse=True) for _ in range(3))
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert sorted(read) == NAMES


def test_changed_files_are_read_again(folder: Path, read: list[str]) -> None:
    file_digests(folder, Names(NAMES), reuse=True)
    read.clear()
    (folder / NAMES[2]).write_bytes(b"longer than it was")
    content = (folder / NAMES[3]).read_bytes()
    (folder / NAMES[3]).unlink()
    (folder / NAMES[3]).write_bytes(content[::-1])
    os.utime(folder / NAMES[3], (2, 2))
    os.utime(folder / NAMES[4], (1, 1))
    found = file_digests(folder, Names(NAMES), reuse=True)
    assert set(read) == {NAMES[2], NAMES[3], NAMES[4]}
    assert found[3].tolist() == digest(NAMES[3][::-1])


def test_other_files_and_other_folders_are_read(folder: Path, read: list[str]) -> None:
    (folder / "sub").mkdir()
    file_digests(folder, Names(NAMES), reuse=True)
    file_digests(folder, Names(NAMES[1:]), reuse=True)
    assert len(read) == 9
    (folder / "sub" / NAMES[0]).write_bytes(b"")
    file_digests(folder / "sub", Names(NAMES[:1]), reuse=True)
    assert len(read) == 10
    file_digests(folder, Names(NAMES[1:]), reuse=True)
    assert len(read) == 14, "only those of one folder are kept, which takes memory"


def test_files_that_were_just_changed_are_read_again(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECENT", 60.0)
    for _ in range(2):
        file_digests(folder, Names(NAMES), reuse=True)
    assert len(read) == 10
