"""Listings that are damaged, of another form, or cannot be written cost time alone."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from glow_pipeline.images.sources.kept_digests import KeptDigests, KnownDigests

N = 1000


@pytest.fixture
def known() -> KnownDigests:
    random = np.random.default_rng(0)
    return KnownDigests(random.integers(1, 2**62, N), random.integers(0, 256, (N, 32), dtype=np.uint8))


@pytest.fixture
def listing(tmp_path: Path, known: KnownDigests) -> Path:
    KeptDigests(tmp_path / "listings").keep(tmp_path / "xrays", known, changed=True)
    (path,) = (tmp_path / "listings").iterdir()
    return path


def stored(tmp_path: Path) -> KnownDigests | None:
    return KeptDigests(tmp_path / "listings").known(tmp_path / "xrays")


@pytest.mark.usefixtures("listing")
def test_listing_is_read_as_it_was_written(tmp_path: Path, known: KnownDigests) -> None:
    found = stored(tmp_path)
    assert found is not None
    assert np.array_equal(found.stamps, known.stamps)
    assert np.array_equal(found.digests, known.digests)


@pytest.mark.usefixtures("listing")
def test_folder_has_one_listing_behind_its_links(tmp_path: Path) -> None:
    (tmp_path / "xrays").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "xrays")
    kept = KeptDigests(tmp_path / "listings")
    assert kept.known(tmp_path / "link") is not None
    assert kept.known(tmp_path) is None


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"stamp": pa.array([1]), "sha256": pa.array([b"1"])}), path)


def later_form(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"glow_pipeline.listing": b"2"}), path)


@pytest.mark.parametrize("damage", [truncated, flipped, emptied, other_columns, later_form])
def test_listing_that_cannot_be_used_is_ignored(
    tmp_path: Path, listing: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(listing)
    assert stored(tmp_path) is None
    assert f"{listing}: this listing cannot be used (" in caplog.text
    assert f"all files of {tmp_path / 'xrays'} are read again" in caplog.text


def test_files_without_a_stamp_are_not_listed(tmp_path: Path, known: KnownDigests) -> None:
    known.stamps[::2] = 0
    KeptDigests(tmp_path / "listings").keep(tmp_path / "xrays", known, changed=True)
    found = stored(tmp_path)
    assert found is not None
    assert np.array_equal(found.digests, known.digests[1::2])


def test_digests_are_filled_by_stamp_in_any_order(known: KnownDigests) -> None:
    stamps = np.array([known.stamps[7], 0, known.stamps[3], 5])
    digests = np.zeros((4, 32), dtype=np.uint8)
    assert known.fill(stamps, digests).tolist() == [True, False, True, False]
    assert np.array_equal(digests[[0, 2]], known.digests[[7, 3]])
    assert not digests[[1, 3]].any()


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EACCES])
def test_listing_that_cannot_be_written_is_a_line(
    tmp_path: Path,
    known: KnownDigests,
    problem: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(*_arguments: object, **_settings: object) -> None:
        raise OSError(problem, "no")

    monkeypatch.setattr(pq, "write_table", refused)
    kept = KeptDigests(tmp_path / "listings")
    kept.keep(tmp_path / "xrays", known, changed=True)
    assert "the listing of" in caplog.text
    assert kept.known(tmp_path / "xrays") is known
    assert list((tmp_path / "listings").iterdir()) == []


def test_notes_are_kept_for_the_next_command(tmp_path: Path) -> None:
    KeptDigests(tmp_path).note("a1", "found")
    assert KeptDigests(tmp_path).noted("a1") == "found"
    assert not KeptDigests(tmp_path).noted("a2")
    assert not KeptDigests(tmp_path, "contents").noted("a1")
    KeptDigests().note("a1", "found")
    assert not KeptDigests().noted("a1")
