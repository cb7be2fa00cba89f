import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.images import stored_images
from glow_pipeline.images.rows import Rows
from glow_pipeline.images.stored_images import StoredImages, pages_of

COUNTS = [4, 0, 1, 5]
PIXELS = np.random.default_rng(0).integers(0, 256, (sum(COUNTS), 3, 2, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    paths = [folder / f"{part}.npy" for part in range(len(COUNTS))]
    for path, images in zip(paths, np.split(PIXELS, np.cumsum(COUNTS)[:-1]), strict=True):
        np.save(path, images)
    return paths


ROWS: st.SearchStrategy[Rows] = st.one_of(
    st.builds(range, st.integers(0, 10), st.integers(0, 10), st.sampled_from([1, 2, 3])),
    st.lists(st.integers(0, 9), max_size=12).map(lambda rows: np.array(rows, dtype=np.int32)),
)


@pytest.mark.parametrize("memory", [0, 2**30])
@given(rows=ROWS)
def test_images_of_several_files_follow_each_other(parts: list[Path], rows: Rows, memory: int) -> None:
    images = StoredImages(parts, COUNTS, (3, 2, 2), memory=memory)
    assert np.array_equal(images[rows], PIXELS[np.array(rows, dtype=np.int64)])


def test_few_files_are_open_at_once(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_images, "OPEN", 2)
    images = StoredImages(parts, COUNTS, (3, 2, 2))
    assert np.array_equal(images[np.array([9, 0, 4, 9])], PIXELS[[9, 0, 4, 9]])
    assert len(images._opened) == 2


def test_files_are_opened_when_they_are_needed(parts: list[Path]) -> None:
    images = StoredImages([*parts[:3], parts[0].with_name("missing.npy")], COUNTS, (3, 2, 2))
    assert np.array_equal(images[range(5)], PIXELS[:5])
    with pytest.raises(FileNotFoundError):
        images[range(6)]


@given(
    rows=st.lists(st.integers(0, 10**8), min_size=1, max_size=4), size=st.integers(1, 10**5), offset=st.integers(0, 200)
)
def test_pages_are_those_of_the_images(rows: list[int], size: int, offset: int) -> None:
    ranges = list(pages_of(np.array(rows), size, offset))
    for row, (start, length) in zip(rows, ranges, strict=True):
        assert start % mmap.PAGESIZE == 0
        assert start <= offset + row * size < start + mmap.PAGESIZE
        assert start + length == offset + (row + 1) * size


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="a system without this advice")
@pytest.mark.parametrize(
    ("memory", "rows", "reads_ahead"),
    [
        (23_999, [0, 900], True),
        (24_000, [0, 900], False),  # a table of 12,000 bytes stays in memory
        (0, [7, 8, 10], False),  # in order, as scoring reads
        (0, list(range(0, 1000, 2)), False),
        (0, list(range(0, 1000, 20)), True),
        (0, [], False),
    ],
)
def test_scattered_images_of_large_tables_are_read_ahead(memory: int, rows: list[int], reads_ahead: bool) -> None:
    images = StoredImages([Path("0.npy")], [1000], (3, 2, 2), memory=memory)
    assert images.reads_ahead(np.array(rows, dtype=np.int64)) is reads_ahead


def test_changes_of_the_images_are_not_written(parts: list[Path]) -> None:
    for count in (1, len(COUNTS)):
        images = StoredImages(parts[:count], COUNTS[:count], (3, 2, 2))
        images[range(2)][:] = 0
        assert np.array_equal(images[range(2)], PIXELS[:2])
