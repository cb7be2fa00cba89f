"""The pixels of a table: one file of images, or several that follow each other."""

import mmap
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.images.rows import Rows
from glow_pipeline.memory import available_bytes

Pixels = NDArray[np.uint8]
OPEN = 512  # files that are open at once: each takes a descriptor, of which a process has 1,024 on most systems
SCATTERED = 16  # rows are scattered if they are among so many times their number


class File(NamedTuple):
    """An open file of images."""

    images: Pixels  # an array: numpy takes longer to index its `memmap`
    memory_map: mmap.mmap
    offset: int  # of the first image, in bytes


class StoredImages:
    """Images in memory maps, which are opened when an image of them is needed first.

    Args:
        paths: .npy files of images uint8 (n, C, H, W), in the order of their rows.
        counts: number of images in each.
        shape: (C, H, W).
        fetch: makes a file that is not there yet; None: all are.
        memory: bytes that may hold images which have been read; None: those that are free when rows are read first.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        counts: Sequence[int],
        shape: tuple[int, int, int],
        fetch: Callable[[Path], None] | None = None,
        memory: int | None = None,
    ) -> None:
        self._paths, self._fetch = paths, fetch
        self._starts = np.array([0, *accumulate(counts)])
        self._shape = shape
        self._memory = memory
        self._opened: OrderedDict[int, File] = OrderedDict()

    def __getitem__(self, rows: Rows) -> Pixels:
        """Return a copy of these images (n, C, H, W)."""
        if isinstance(rows, range) and rows.step != 1:
            rows = np.array(rows, dtype=np.int64)
        if isinstance(rows, range):
            return self._consecutive(rows)
        if len(self._paths) == 1:
            return self._gathered(0, rows)
        result = np.empty((len(rows), *self._shape), dtype=np.uint8)
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        for part in np.unique(parts).tolist():
            places = np.flatnonzero(parts == part)
            result[places] = self._gathered(part, rows[places] - self._starts[part])
        return result

    def _consecutive(self, rows: range) -> Pixels:
        if len(self._paths) == 1:
            return np.array(self._file(0).images[rows.start : rows.stop])
        result = np.empty((len(rows), *self._shape), dtype=np.uint8)
        bounds = np.clip(self._starts - rows.start, 0, len(rows)).tolist()
        for part, (first, last) in enumerate(pairwise(bounds)):
            if first < last:
                begin = rows.start + first - int(self._starts[part])
                result[first:last] = self._file(part).images[begin : begin + last - first]
        return result

    def _gathered(self, part: int, rows: NDArray[np.signedinteger]) -> Pixels:
        images, memory_map, offset = self._file(part)
        if self.reads_ahead(rows):
            # Otherwise the system reads one row after the other, each with hundreds of KiB around it.
            for start, length in pages_of(rows, images[0].nbytes, offset):
                memory_map.madvise(mmap.MADV_WILLNEED, start, length)
        return images[rows]

    def reads_ahead(self, rows: NDArray[np.signedinteger]) -> bool:
        """Return whether all these rows of a file are announced to the system first: scattered ones of large tables."""
        return self._exceed_memory and len(rows) > 0 and int(np.ptp(rows)) >= SCATTERED * len(rows)

    @cached_property
    def _exceed_memory(self) -> bool:
        memory = available_bytes(torch.device("cpu")) if self._memory is None else self._memory
        n_bytes = int(self._starts[-1]) * int(np.prod(self._shape))
        return memory is not None and n_bytes > memory / 2 and hasattr(mmap, "MADV_WILLNEED")

    def _file(self, part: int) -> File:
        if part in self._opened:
            self._opened.move_to_end(part)
        else:
            if len(self._opened) >= OPEN:
                self._opened.popitem(last=False)
            if self._fetch is not None:
                self._fetch(self._paths[part])
            images = np.load(self._paths[part], mmap_mode="r", allow_pickle=False)
            self._opened[part] = File(np.asarray(images), images.base, images.offset)
        return self._opened[part]


def pages_of(rows: NDArray[np.signedinteger], size: int, offset: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) in the memory map of each image, from the start of a page on.

    Args:
        rows: rows of the images in their file.
        size: bytes of an image.
        offset: of the first image in the file.
    """
    first = offset % mmap.ALLOCATIONGRANULARITY  # numpy maps a file from a multiple of it on
    for row in rows.tolist():
        start = first + row * size
        begin = start - start % mmap.PAGESIZE
        yield begin, start + size - begin
