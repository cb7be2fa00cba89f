"""A copy of a table on a disk of this machine, in one file of images: for trainings, which read in a random order."""

import hashlib
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import NO_ROOM, flush, locked, rename_whole, sha256
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.images_file import images_header
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_files import BESIDE_IMAGES, CONTENT, IMAGES, RECORD

PIECE = 2**28  # bytes; an interrupted copy resumes after its last complete piece
BLOCK = 2**23  # bytes that are read at once
STREAMS = 8  # pieces that are copied at once: one connection to a NAS or a bucket has a part of its speed
ROWS = ".rows"  # how many images an interrupted copy has
MADE = "copied.txt"  # size and time of a complete copy's images
GIB = 2**30

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Piece:
    """Images that are copied and checked together.

    Attributes:
        file: the table's file that has them.
        skipped: images before them in this file.
        first: their first row in the table.
        count: number of images.
        sha256: digest of the file; None: the hashes of the images' contents tell whether they are right.
    """

    file: str
    skipped: int
    first: int
    count: int
    sha256: str | None = None


def stage_table(table: ImageTable, root: Path) -> Path:
    """Return the folder of a table's copy below `root`; copy it there unless it is there already.

    One process copies while others wait. An interrupted copy is resumed.

    Args:
        table: is copied with all its rows.
        root: a local folder, which may hold copies of several tables.

    Raises:
        GlowPipelineError: the copy does not fit, or a file of the table is not what it was when it was made.
    """
    record, digest = table.record, sha256(table.folder / RECORD)
    name = f"{record.name}-{record.split}-{record.image_format.key}-{digest[:16]}"
    target = root / name
    if _is_as_made(target):
        return target
    root.mkdir(parents=True, exist_ok=True)
    waiting = f"waiting for another process of this machine that copies {record.title} to {root}"
    with locked(root / f".{name}.lock", waiting):
        if not _is_as_made(target):
            partial_copy = root / f".{name}.partial"
            try:
                if target.is_dir():
                    logger.warning("%s: %s was changed since it was copied; it is copied anew", target, IMAGES)
                    shutil.rmtree(target)
                _Copy(table, partial_copy).write()
                (partial_copy / MADE).write_text(_stamp(partial_copy), encoding="utf-8")
                rename_whole(partial_copy, target)
                (target / ROWS).unlink()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                raise GlowPipelineError(
                    f"train.stage={root}: cannot be written ({error.strerror}); make room there and type the same "
                    f"command again, which resumes the copy of {record.title}"
                ) from error
            if others := _others_in(root, target):
                logger.info("%s has copies of other tables; remove those that no training reads: %s", root, others)
    return target


def _is_as_made(copy: Path) -> bool:
    """Return whether a copy is there and complete, and its images have the size and time that they were given."""
    try:
        return (copy / MADE).read_text(encoding="utf-8") == _stamp(copy)
    except FileNotFoundError:
        return False


def _stamp(copy: Path) -> str:
    status = (copy / IMAGES).stat()
    return f"{status.st_size} {status.st_mtime_ns}"


class _Copy:
    """A copy of a table that is being made.

    Args:
        table: the table.
        folder: of the copy, in which an interrupted one may have left images.
    """

    def __init__(self, table: ImageTable, folder: Path) -> None:
        self._table, self._record, self._folder = table, table.record, folder
        self._image_bytes = math.prod(self._record.image_format.shape)

    def write(self) -> None:
        """Copy all files: the images of all parts into one file, of which those of complete pieces are kept."""
        self._folder.mkdir(exist_ok=True)
        for name in (*BESIDE_IMAGES, RECORD):
            if (self._table.folder / name).is_file():
                shutil.copyfile(self._table.folder / name, self._folder / name)
                flush(self._folder / name)
        images, progress = self._folder / IMAGES, self._folder / ROWS
        done = int(progress.read_text() or 0) if progress.is_file() and images.is_file() else 0
        pieces = [piece for piece in self._pieces() if piece.first + piece.count > done]
        self._check_room(pieces)
        header = images_header(self._record.count, self._record.image_format)
        with images.open("r+b" if done else "wb") as file:
            file.write(header)
        bar = tqdm(
            desc=f"copy {self._record.title}",
            total=self._record.count * self._image_bytes,
            initial=done * self._image_bytes,
            unit="B",
            unit_scale=True,
            delay=2,
        )
        hashes = np.load(self._folder / CONTENT, mmap_mode="r", allow_pickle=False)
        with bar, ThreadPoolExecutor(STREAMS) as pool:
            try:
                for piece in pool.map(partial(self._copy, hashes, len(header)), pieces):
                    flush(images)
                    progress.write_text(str(piece.first + piece.count))  # and so are all before it
                    bar.update(piece.count * self._image_bytes)
            finally:
                pool.shutdown(cancel_futures=True)

    def _copy(self, hashes: NDArray[np.int64], start: int, piece: _Piece) -> _Piece:
        """Write the images of a piece to their place, and return it.

        Args:
            hashes: content hashes of the table.
            start: place of the first image in the copy.
        """
        with (self._folder / IMAGES).open("r+b") as file:
            file.seek(start + piece.first * self._image_bytes)
            for block in self._checked_blocks(piece, hashes):
                file.write(block)
        return piece

    def _pieces(self) -> Iterator[_Piece]:
        """Yield all images in order, by files; a file without a SHA-256, if it is on a disk, by ranges of it."""
        before = 0
        for file in self._table.image_files():
            ranges = not file.sha256 and self._table.store is None
            step = max(1, PIECE // self._image_bytes if ranges else file.count)
            for first in range(0, file.count, step):
                count = min(step, file.count - first)
                yield _Piece(file.file, first, before + first, count, file.sha256 or None)
            before += file.count

    def _checked_blocks(self, piece: _Piece, hashes: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the pixels of a piece.

        Raises:
            GlowPipelineError: they are not those with which the table was made.
        """
        with self._local(piece.file).open("rb") as file:
            header = _header(file)
            digest = hashlib.sha256(header)
            file.seek(len(header) + piece.skipped * self._image_bytes)
            row, last = piece.first, piece.first + piece.count
            for block in iter(partial(file.read, max(1, BLOCK // self._image_bytes) * self._image_bytes), b""):
                block = block[: (last - row) * self._image_bytes]
                digest.update(block)
                n_images = len(block) // self._image_bytes
                if piece.sha256 is None and not _have(block, hashes[row : row + n_images]):
                    break
                yield block
                row += n_images
                if row == last:
                    break
        self._forget(piece.file)
        if row < last or piece.sha256 not in (None, digest.hexdigest()):
            raise GlowPipelineError(
                f"{self._table.store or self._table.folder}: {piece.file} is not as it was when the table of "
                f"{self._record.title} was made (images {piece.first} to {last - 1}); remove that version of the "
                f"table and make it again"
            )

    def _local(self, name: str) -> Path:
        """Return a file of the table on a disk, where it may be already; `_forget` removes a copy."""
        if self._table.store is None:
            return self._table.folder / name
        path, incomplete = self._folder / f".{name}", self._folder / f".incomplete.{name}"
        if not path.is_file():
            self._table.store.fetch(name, incomplete)
            incomplete.replace(path)
        return path

    def _forget(self, name: str) -> None:
        if self._table.store is not None:
            (self._folder / f".{name}").unlink()

    def _check_room(self, pieces: Sequence[_Piece]) -> None:
        counts = [piece.count for piece in pieces]
        fetched = 0 if self._table.store is None else sum(sorted(counts)[-STREAMS:])  # on this disk too, for a while
        needed, free = (sum(counts) + fetched) * self._image_bytes, shutil.disk_usage(self._folder).free
        if free < needed:
            root = self._folder.parent
            others = _others_in(root, self._folder)
            raise GlowPipelineError(
                f"train.stage={root}: {free / GIB:.1f} GiB are free, and copying {self._record.title} takes "
                f"{needed / GIB:.1f} GiB; make room{f' (copies of other tables: {others})' if others else ''}, choose "
                f"another disk, or set it to null"
            )


def _header(file: BinaryIO) -> bytes:
    """Return the header of an .npy file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    read(file)
    length = file.tell()
    file.seek(0)
    return file.read(length)


def _have(block: bytes, hashes: NDArray[np.int64]) -> bool:
    """Return whether images have these content hashes."""
    if len(block) % max(1, len(hashes)) or not len(hashes):
        return False
    values = torch.frombuffer(bytearray(block), dtype=torch.uint8).view(len(hashes), -1)
    return np.array_equal(content_hash(values).numpy(), hashes)


def _others_in(root: Path, own: Path) -> str:
    """Return the copies of other tables, which are kept until somebody removes them, with their sizes."""
    return ", ".join(
        f"{path.name} ({(path / IMAGES).stat().st_size / GIB:.1f} GiB)"
        for path in sorted(root.iterdir())
        if path != own and path.is_dir() and (path / RECORD).is_file() and (path / IMAGES).is_file()
    )
