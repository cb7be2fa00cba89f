import io
import multiprocessing
import os
import pickle
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from glow_pipeline.images.decoding import UnreadableImageError
from glow_pipeline.images.sources import archives
from glow_pipeline.images.sources.archives import (
    FilesOnDisk,
    Names,
    TarImages,
    TarMember,
    ZipImages,
    printable,
    tar_members,
)
from glow_pipeline.images.sources.source import Reader
from tests.images.sources.archive_files import message_of, tar_of, zip_of

# A file name is bytes on Linux, and any but these two.
file_names = st.binary(max_size=40).map(lambda name: os.fsdecode(name.replace(b"\0", b"").replace(b"/", b"")))


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


# Names ---------------------------------------------------------------------------------------


@given(st.lists(file_names, max_size=30))
def test_names_come_out_as_they_went_in(given_names: list[str]) -> None:
    names = Names(given_names)
    assert len(names) == len(given_names)
    assert [names[i] for i in range(len(names))] == given_names
    copy = pickle.loads(pickle.dumps(names))
    copy.append("one more")
    assert [copy[i] for i in range(len(copy))] == [*given_names, "one more"]
    assert len(names) == len(given_names)


def test_names_that_are_not_there_are_not_made_up() -> None:
    assert len(Names()) == 0
    for names, index in ((Names(), 0), (Names(["a", ""]), 2)):
        with pytest.raises(IndexError):
            names[index]


@given(st.binary(max_size=40))
def test_any_name_can_be_printed_on_one_line_in_utf8(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    shown.encode("utf-8")
    assert len(f"<{shown}>".splitlines()) == 1
    assert not any(ord(c) < 32 or ord(c) == 127 for c in shown)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"cat (2).jpg", "cat (2).jpg"),
        ("Kätzchen 猫.jpg".encode(), "Kätzchen 猫.jpg"),
        (b"K\xe4tzchen.jpg", r"K\xe4tzchen.jpg"),
        (b"two\nlines.jpg", r"two\nlines.jpg"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        ("\u202egpj.exe".encode(), r"\u202egpj.exe"),  # would be shown back to front
        (b"", ""),
    ],
)
def test_names_are_printed_as_they_are_where_that_is_possible(name: bytes, shown: str) -> None:
    assert printable(os.fsdecode(name)) == shown


# The members of a tar archive ----------------------------------------------------------------

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
FILES = {
    "plain.jpg": noise(700),
    "empty.jpg": b"",
    "a/one_byte.jpg": b"x",
    "a/one_block.jpg": noise(512, 1),
    f"{'long/' * 30}name.jpg": noise(513, 2),
    "Kätzchen/猫.jpg": noise(1024, 3),
    "no_utf8_\udcff.jpg": noise(30, 4),
}


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def content_of(archive: bytes, member: TarMember) -> bytes:
    return archive[member.offset : member.offset + member.size]


@pytest.mark.parametrize("tar_format", FORMATS)
def test_the_files_of_a_tar_archive_are_found_where_they_lie(tmp_path: Path, tar_format: str) -> None:
    packed = tar_of(FILES, tar_format=FORMATS[tar_format])
    members = list(tar_members(write(tmp_path / "some.tar", packed)))
    assert [member.name for member in members] == list(FILES)
    assert {member.name: content_of(packed, member) for member in members} == FILES


@pytest.mark.parametrize("tar_format", FORMATS)
def test_the_files_of_a_tar_archive_in_a_tar_archive_are_found_too(tmp_path: Path, tar_format: str) -> None:
    inner = tar_of(FILES, tar_format=FORMATS[tar_format])
    other = tar_of({"last.jpg": noise(10, 8)})
    first, between = noise(99, 5), noise(7, 6)
    packed = tar_of(
        {"first.jpg": first, "n01.tar": inner, "between.jpg": between, "sub/n02.tar": other, "none.tar": tar_of({})},
        tar_format=FORMATS[tar_format],
    )
    members = list(tar_members(write(tmp_path / "some.tar", packed)))
    assert [(member.name, content_of(packed, member)) for member in members] == [
        ("first.jpg", first),
        *((f"n01.tar/{name}", content) for name, content in FILES.items()),
        ("between.jpg", between),
        ("sub/n02.tar/last.jpg", noise(10, 8)),
    ]


def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            for name in (f"{kind.decode()}.jpg", f"{kind.decode()}.tar"):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, "/etc/passwd"
                archive.addfile(member)
        member = tarfile.TarInfo("file.jpg")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    assert [member.name for member in tar_members(write(tmp_path / "some.tar", packed.getvalue()))] == ["file.jpg"]


# Two kinds of headers, and an archive in the archive, as small as can be.
SMALL = tar_of(
    {"a.jpg": noise(600), f"{'b' * 120}.jpg": noise(5), "c.tar": tar_of({"d.jpg": noise(20)}), "e.jpg": b"e"}
)


def header_offsets(packed: bytes) -> list[int]:
    """Of the headers that are not inside another member, by the sizes that they give in octal."""
    offsets, at = [], 0
    while any(packed[at : at + 512]):
        offsets.append(at)
        size = int(packed[at + 124 : at + 135], 8)
        at += 512 + -(-size // 512) * 512
    return [*offsets, at]


*HEADERS, END = header_offsets(SMALL)


@given(st.integers(0, END - 1))
def test_a_tar_archive_that_breaks_off_is_an_error(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    # Between two files nothing tells what is left from an archive without zeros at its end. The third header is that
    # of the file whose long name the second one announces.
    assume(length not in (HEADERS[1], HEADERS[3], HEADERS[4]))
    path = write(tmp_path_factory.mktemp("cut") / "cut.tar", SMALL[:length])
    assert message_of(lambda: list(tar_members(path))).startswith(f"{path}: not a whole tar archive (")


def test_the_zeros_at_the_end_of_a_tar_archive_may_be_missing(tmp_path: Path) -> None:
    whole = list(tar_members(write(tmp_path / "whole.tar", SMALL)))
    for more in (0, 100, 512, 600):
        assert list(tar_members(write(tmp_path / "cut.tar", SMALL[: END + more]))) == whole


# The outer ones and the one in the inner archive. A change of the checksum itself may leave the same number.
headers = st.sampled_from([*HEADERS, HEADERS[3] + 512])
in_header = st.integers(0, 511).filter(lambda at: not 148 <= at < 156)


@given(headers, in_header, st.integers(1, 255))
def test_a_tar_archive_with_a_damaged_header_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, header: int, at: int, change: int
) -> None:
    damaged = bytearray(SMALL)
    damaged[header + at] ^= change
    path = write(tmp_path_factory.mktemp("damaged") / "damaged.tar", bytes(damaged))
    assert message_of(lambda: list(tar_members(path))).startswith(f"{path}: not a whole tar archive (")


@pytest.mark.parametrize(
    "content", [b"", b"<html>log in first</html>", noise(5000), zip_of({"a.jpg": b"abc"}), tar_of(FILES, "w:gz")]
)
def test_what_is_no_tar_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "some.tar", content)
    assert str(path) in message_of(lambda: list(tar_members(path)))
    outer = write(tmp_path / "outer.tar", tar_of({"inner.tar": content}))
    assert str(outer) in message_of(lambda: list(tar_members(outer)))


def test_memory_does_not_grow_with_the_number_of_members(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = write(tmp_path / f"{count}.tar", tar_of({f"{i:09}.jpg": b"" for i in range(count)}))
        list(tar_members(path))  # so that what is made once does not count
        tracemalloc.start()
        assert sum(1 for _ in tar_members(path)) == count
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # A TarInfo alone takes more than a kilobyte.
    assert peak(2000) < peak(100) + 100_000


# Readers -------------------------------------------------------------------------------------

# Some larger than what is read ahead, and all different.
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


def test_images_are_read_as_they_are_in_any_order(reader: Reader) -> None:
    assert read_all(reader) == IMAGES
    for i in (29, 0, 7, 7, 28, 1):
        assert reader(i) == list(IMAGES.values())[i]


def test_a_reader_can_be_pickled_before_and_after_it_is_used(reader: Reader) -> None:
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


def test_several_processes_that_inherit_an_open_file_do_not_disturb_each_other(reader: Reader) -> None:
    reader(0)
    loader: DataLoader[list[int]] = DataLoader(
        Rereads(reader),  # type: ignore[arg-type]  # it has __getitem__, all that is asked of it
        batch_size=None,
        sampler=range(4),
        num_workers=2,
        multiprocessing_context="fork",
        collate_fn=list,
    )
    wrong = list(loader)
    assert wrong == [[]] * 4
    assert Rereads(reader)[9] == []


def test_a_process_that_inherits_nothing_reads_the_same(tmp_path: Path) -> None:
    readers = [make(tmp_path / kind, IMAGES) for kind, make in MAKE.items()]
    readers[1](0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        read = [[pool.submit(reader, i) for i in (5, 2)] for reader in readers]
        assert [[image.result() for image in two] for two in read] == [[noise(4550, 5), noise(1850, 2)]] * 3


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_an_image_may_be_as_large_as_allowed_but_not_larger(
    make: MakeReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 2000)
    images = make(tmp_path, {"just.jpg": noise(2000), "over.jpg": noise(2001)})
    assert images(0) == noise(2000)
    with pytest.raises(UnreadableImageError, match=r"^2,001 bytes; allowed are 2,000$"):
        images(1)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_images_are_called_by_names_that_can_be_printed(make: MakeReader, tmp_path: Path) -> None:
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


def test_a_file_that_is_gone_or_is_a_folder_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    images = FilesOnDisk(tmp_path, Names(["gone.jpg", "folder.jpg"]))
    assert reason(images, 0) == "No such file or directory"
    assert reason(images, 1) == "Is a directory"


def test_a_member_that_a_tar_archive_has_no_longer_is_unreadable(tmp_path: Path) -> None:
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
# and both lie two bytes further in the directory at the end.
STORED = zip_of({"a.jpg": noise(60)}, zipfile.ZIP_STORED)
DEFLATED = zip_of({"a.jpg": b"abcabcabd" * 50}, zipfile.ZIP_DEFLATED)
DIRECTORY = STORED.index(b"PK\x01\x02")


def test_a_member_that_a_zip_archive_does_not_have_is_unreadable(tmp_path: Path) -> None:
    assert reason(zip_with(tmp_path, STORED, "b.jpg")) == "not in the archive"


def test_a_zip_member_with_another_checksum_is_unreadable(tmp_path: Path) -> None:
    changed = patched(STORED, 35 + 10, bytes([STORED[45] ^ 1]))
    assert "CRC" in reason(zip_with(tmp_path, changed))


def test_a_zip_member_that_cannot_be_inflated_is_unreadable(tmp_path: Path) -> None:
    assert reason(zip_with(tmp_path, patched(DEFLATED, 35, b"\xff\xff\xff"))).startswith("damaged (")


def test_an_encrypted_zip_member_is_unreadable(tmp_path: Path) -> None:
    encrypted = patched(patched(STORED, 6, b"\x01\x00"), DIRECTORY + 8, b"\x01\x00")
    assert "encrypted" in reason(zip_with(tmp_path, encrypted))


def test_a_zip_member_of_an_unknown_compression_is_unreadable(tmp_path: Path) -> None:
    deflate64 = patched(patched(STORED, 8, b"\x09\x00"), DIRECTORY + 10, b"\x09\x00")
    assert reason(zip_with(tmp_path, deflate64)).startswith("damaged (")


@pytest.mark.parametrize("content", [b"", noise(3000), STORED[:100]], ids=["empty", "noise", "half"])
def test_images_of_a_file_that_is_no_zip_archive_are_unreadable(tmp_path: Path, content: bytes) -> None:
    assert "zip" in reason(zip_with(tmp_path, content))


@pytest.mark.parametrize("whole", [STORED, DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("change", [1, 0x80, 0xFF])
def test_whatever_byte_of_a_zip_archive_is_changed_no_wrong_image_comes_out(
    tmp_path: Path, whole: bytes, change: int
) -> None:
    expected = zip_with(tmp_path, whole)(0)
    told = 0
    for at in range(len(whole)):
        images = zip_with(tmp_path, patched(whole, at, bytes([whole[at] ^ change])))
        try:
            assert images(0) == expected
        except UnreadableImageError:
            told += 1
    assert told > len(whole) / 3


# Names that lead out of the archive ----------------------------------------------------------

EVIL = ("../../evil.png", "/abs/evil.png", "~/evil.png", "a/../../../evil.png", "C:\\evil.png")


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("make", [tar_images, zip_images])
def test_names_that_lead_out_of_an_archive_write_nothing_and_read_only_the_archive(
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


def test_a_link_in_a_zip_archive_is_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", b"not for you")
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16  # a symbolic link, as zip --symlinks has it
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, str(secret))
    assert zip_with(tmp_path, file.getvalue(), "link.png")(0) == str(secret).encode()


def test_names_come_without_a_leading_dot(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({"./c.tar": tar_of({"./b.jpg": b"in"}), "./d/e.jpg": b"out"}))
    assert [member.name for member in tar_members(tmp_path / "a.tar")] == ["c.tar/b.jpg", "d/e.jpg"]
