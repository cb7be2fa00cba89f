"""Members of tar archives."""

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from glow_pipeline.images.sources.archives import (
    TarMember,
    tar_members,
)
from tests.images.sources.archive_files import noise, tar_of, write, zip_of
from tests.images.sources.contract import error_of

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


def content_of(archive: bytes, member: TarMember) -> bytes:
    return archive[member.offset : member.offset + member.size]


@pytest.mark.parametrize("tar_format", FORMATS)
def test_tar_members_have_their_offset_and_size(tmp_path: Path, tar_format: str) -> None:
    packed = tar_of(FILES, tar_format=FORMATS[tar_format])
    members = list(tar_members(write(tmp_path / "some.tar", packed)))
    assert [member.name for member in members] == list(FILES)
    assert {member.name: content_of(packed, member) for member in members} == FILES


@pytest.mark.parametrize("tar_format", FORMATS)
def test_members_of_inner_tar_archives_are_found(tmp_path: Path, tar_format: str) -> None:
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


def test_only_regular_tar_members_are_found(tmp_path: Path) -> None:
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
    """Return the offsets of the outer headers, by their octal sizes, and the offset of the end."""
    offsets, at = [], 0
    while any(packed[at : at + 512]):
        offsets.append(at)
        size = int(packed[at + 124 : at + 135], 8)
        at += 512 + -(-size // 512) * 512
    return [*offsets, at]


*HEADERS, END = header_offsets(SMALL)


@given(st.integers(0, END - 1))
def test_truncated_tar_archive_is_an_error(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    # Cut between two files it is a valid archive without zeros at its end. The third header is of the file whose long
    # name the second one announces.
    assume(length not in (HEADERS[1], HEADERS[3], HEADERS[4]))
    path = write(tmp_path_factory.mktemp("cut") / "cut.tar", SMALL[:length])
    assert error_of(lambda: list(tar_members(path))).startswith(f"{path}: not a complete tar archive (")


def test_zeros_at_the_end_may_be_missing(tmp_path: Path) -> None:
    expected = list(tar_members(write(tmp_path / "complete.tar", SMALL)))
    for more in (0, 100, 512, 600):
        assert list(tar_members(write(tmp_path / "cut.tar", SMALL[: END + more]))) == expected


# The outer ones and the one in the inner archive. A change of the checksum itself may leave the same number.
headers = st.sampled_from([*HEADERS, HEADERS[3] + 512])
in_header = st.integers(0, 511).filter(lambda at: not 148 <= at < 156)


@given(headers, in_header, st.integers(1, 255))
def test_damaged_tar_header_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, header: int, at: int, change: int
) -> None:
    damaged = bytearray(SMALL)
    damaged[header + at] ^= change
    path = write(tmp_path_factory.mktemp("damaged") / "damaged.tar", bytes(damaged))
    assert error_of(lambda: list(tar_members(path))).startswith(f"{path}: not a complete tar archive (")


@pytest.mark.parametrize(
    "content", [b"", b"<html>log in first</html>", noise(5000), zip_of({"a.jpg": b"abc"}), tar_of(FILES, "w:gz")]
)
def test_file_of_another_kind_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "some.tar", content)
    assert str(path) in error_of(lambda: list(tar_members(path)))
    outer = write(tmp_path / "outer.tar", tar_of({"inner.tar": content}))
    assert str(outer) in error_of(lambda: list(tar_members(outer)))


def test_memory_is_independent_of_member_count(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = write(tmp_path / f"{count}.tar", tar_of({f"{i:09}.jpg": b"" for i in range(count)}))
        list(tar_members(path))  # so that one-time allocations do not count
        tracemalloc.start()
        assert sum(1 for _ in tar_members(path)) == count
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # A TarInfo alone takes more than a kilobyte.
    assert peak(2000) < peak(100) + 100_000


def test_member_names_have_no_leading_dot(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({"./c.tar": tar_of({"./b.jpg": b"in"}), "./d/e.jpg": b"out"}))
    assert [member.name for member in tar_members(tmp_path / "a.tar")] == ["c.tar/b.jpg", "d/e.jpg"]
