"""Readers of files in folders and in archives."""

import io
import multiprocessing
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from glow_pipeline.images.decoding import UnreadableImageError
from glow_pipeline.images.sources import archives
from glow_pipeline.images.sources.archives import (
    FilesOnDisk,
    TarImages,
    TarMember,
    ZipImages,
    tar_members,
)
from glow_pipeline.images.sources.names import Names
from glow_pipeline.images.sources.source import Reader
from tests.images.sources.archive_files import noise, tar_of, write, zip_of

# Readers -------------------------------------------------------------------------------------

# Some larger than the read-ahead, and all different.
IMAGES = {f"class_{i % 3}/{i:03} ü.jpg": noise(50 + i * 900, i) for i in range(30)}


def files_on_disk(folder: Path, files: Mapping[str, bytes]) -> FilesOnDisk:
    for name, content in files.items():
        write(folder / "files" / name, content)
    return FilesOnDisk(folder / "files", Names(list(files)))


def tar_images(folder: Path, files: Mapping[str, bytes]) -> TarImages:
    """Every other file in another archive."""
    members: dict[str, tuple[Path, TarMember]] = {}
    for part in (0, 1):
        path = write(folder / f"{part}.tar", tar_of(dict(list(files.items())[part::2])))
        members |= {member.name: (path, member) for member in tar_members(path)}
    images = TarImages()
    for name in files:
        images.append(*members[name])
    return images


def zip_images(folder: Path, files: Mapping[str, bytes]) -> ZipImages:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, (name, content) in enumerate(files.items()):
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if i % 2 else zipfile.ZIP_STORED)
    return ZipImages(write(folder / "some.zip", file.getvalue()), Names(list(files)))


MakeReader = Callable[[Path, Mapping[str, bytes]], Reader]
MAKE: dict[str, MakeReader] = {"files": files_on_disk, "tar": tar_images, "zip": zip_images}


@pytest.fixture(params=MAKE)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    return MAKE[request.param](tmp_path, IMAGES)


def read_all(reader: Reader) -> dict[str, bytes]:
    return {reader.name(i): reader(i) for i in range(len(IMAGES))}


def test_images_are_read_in_any_order(reader: Reader) -> None:
    assert read_all(reader) == IMAGES
    for i in (29, 0, 7, 7, 28, 1):
        assert reader(i) == list(IMAGES.values())[i]


def test_reader_pickles_before_and_after_use(reader: Reader) -> None:
    before = pickle.dumps(reader)
    reader(3)
    assert read_all(pickle.loads(before)) == IMAGES
    after = pickle.loads(pickle.dumps(reader))
    assert read_all(after) == IMAGES
    assert read_all(reader) == IMAGES


class Rereads:
    """A dataset that reads images at random, a thousand times, while others read theirs."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __getitem__(self, index: int) -> list[int]:
        expected = list(IMAGES.values())
        order = np.random.default_rng(index).integers(0, len(IMAGES), 1000)
        return [int(i) for i in order if self.reader(int(i)) != expected[i]]


def test_forked_processes_read_independently(reader: Reader) -> None:
    reader(0)
    loader: DataLoader[list[int]] = DataLoader(
        Rereads(reader),  # type: ignore[arg-type]  # it has __getitem__, which is enough
        batch_size=None,
        sampler=range(4),
        num_workers=2,
        multiprocessing_context="fork",
        collate_fn=list,
    )
    wrong = list(loader)
    assert wrong == [[]] * 4
    assert Rereads(reader)[9] == []


def test_spawned_process_reads_the_same(tmp_path: Path) -> None:
    readers = [make(tmp_path / kind, IMAGES) for kind, make in MAKE.items()]
    readers[1](0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        read = [[pool.submit(reader, i) for i in (5, 2)] for reader in readers]
        assert [[image.result() for image in two] for two in read] == [[noise(4550, 5), noise(1850, 2)]] * 3


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_file_above_the_size_limit_is_unreadable(
    make: MakeReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 2000)
    images = make(tmp_path, {"just.jpg": noise(2000), "over.jpg": noise(2001)})
    assert images(0) == noise(2000)
    with pytest.raises(UnreadableImageError, match=r"^2,001 bytes; allowed are 2,000$"):
        images(1)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_image_names_are_printable(make: MakeReader, tmp_path: Path) -> None:
    images = make(tmp_path, {"two\nlines.jpg": b"abc"})
    assert images.name(0) == r"two\nlines.jpg"
    assert images(0) == b"abc"


def reason(reader: Reader, index: int = 0) -> str:
    with pytest.raises(UnreadableImageError) as raised:
        reader(index)
    text = str(raised.value)
    assert 0 < len(text) <= 220
    assert len(text.splitlines()) == 1
    return text


def test_absent_file_or_folder_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    images = FilesOnDisk(tmp_path, Names(["gone.jpg", "folder.jpg"]))
    assert reason(images, 0) == "No such file or directory"
    assert reason(images, 1) == "Is a directory"


def test_vanished_tar_member_is_unreadable(tmp_path: Path) -> None:
    images = tar_images(tmp_path, {"a.jpg": noise(700), "b.jpg": noise(10), "c.jpg": noise(600)})
    os.truncate(tmp_path / "0.tar", 512 + 1024 + 512 + 300)
    assert images(0) == noise(700)
    assert images(1) == noise(10)
    assert reason(images, 2) == "truncated: 300 of 600 bytes"


# Damaged zip archives ------------------------------------------------------------------------


def patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def zip_with(folder: Path, content: bytes, name: str = "a.jpg") -> ZipImages:
    return ZipImages(write(folder / "some.zip", content), Names([name]))


# 30 bytes of header and 5 of name, then the content; at byte 6 of the header are the flags, at 8 the method,
# and both are two bytes further in the directory at the end.
STORED = zip_of({"a.jpg": noise(60)}, zipfile.ZIP_STORED)
DEFLATED = zip_of({"a.jpg": b"abcabcabd" * 50}, zipfile.ZIP_DEFLATED)
DIRECTORY = STORED.index(b"PK\x01\x02")


def test_absent_zip_member_is_unreadable(tmp_path: Path) -> None:
    assert reason(zip_with(tmp_path, STORED, "b.jpg")) == "not in the archive"


def test_zip_member_with_wrong_checksum_is_unreadable(tmp_path: Path) -> None:
    changed = patched(STORED, 35 + 10, bytes([STORED[45] ^ 1]))
    assert "CRC" in reason(zip_with(tmp_path, changed))


def test_damaged_zip_member_is_unreadable(tmp_path: Path) -> None:
    assert reason(zip_with(tmp_path, patched(DEFLATED, 35, b"\xff\xff\xff"))).startswith("damaged (")


def test_encrypted_zip_member_is_unreadable(tmp_path: Path) -> None:
    encrypted = patched(patched(STORED, 6, b"\x01\x00"), DIRECTORY + 8, b"\x01\x00")
    assert "encrypted" in reason(zip_with(tmp_path, encrypted))


def test_unknown_zip_compression_is_unreadable(tmp_path: Path) -> None:
    deflate64 = patched(patched(STORED, 8, b"\x09\x00"), DIRECTORY + 10, b"\x09\x00")
    assert reason(zip_with(tmp_path, deflate64)).startswith("damaged (")


@pytest.mark.parametrize("content", [b"", noise(3000), STORED[:100]], ids=["empty", "noise", "half"])
def test_images_of_another_file_are_unreadable(tmp_path: Path, content: bytes) -> None:
    assert "zip" in reason(zip_with(tmp_path, content))


@pytest.mark.parametrize("archive", [STORED, DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("change", [1, 0x80, 0xFF])
def test_changed_byte_never_yields_another_image(tmp_path: Path, archive: bytes, change: int) -> None:
    expected = zip_with(tmp_path, archive)(0)
    refused = 0
    for at in range(len(archive)):
        images = zip_with(tmp_path, patched(archive, at, bytes([archive[at] ^ change])))
        try:
            assert images(0) == expected
        except UnreadableImageError:
            refused += 1
    assert refused > len(archive) / 3


# Names that lead out of the archive ----------------------------------------------------------

EVIL = ("../../evil.png", "/abs/evil.png", "~/evil.png", "a/../../../evil.png", "C:\\evil.png")


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("make", [tar_images, zip_images])
def test_names_leading_out_of_an_archive_are_harmless(
    make: MakeReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: noise(40, i) for i, name in enumerate(EVIL)}
    here = tmp_path / "one" / "two"
    images = make(here, files)
    write(tmp_path / "evil.png", b"outside")
    monkeypatch.chdir(here)
    before = everything_in(tmp_path)
    assert [images(i) for i in range(len(EVIL))] == list(files.values())
    assert everything_in(tmp_path) == before


def test_links_in_zip_archives_are_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", b"not for you")
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16  # a symbolic link, as zip --symlinks has it
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, str(secret))
    assert zip_with(tmp_path, file.getvalue(), "link.png")(0) == str(secret).encode()
