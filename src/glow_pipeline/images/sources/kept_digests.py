"""SHA-256 of files, kept between commands: a file that has not changed since is not read again.

A file is known by its stamp: a hash of its name, size, times and inode. So a listing says nothing wrong of a folder
that it was not made for, nor of a file that was changed or replaced.
"""

import hashlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.files import written_whole

if TYPE_CHECKING:
    import pyarrow as pa

DIGEST = 32  # bytes
FORMAT = {b"glow_pipeline.listing": b"1"}

Verify = Literal["listing", "contents"]

logger = logging.getLogger(__name__)


class KnownDigests(NamedTuple):
    """Digests of files by their stamps.

    Attributes:
        stamps: int64 (n,), in any order; 0 for files that are to be read again.
        digests: uint8 (n, 32).
    """

    stamps: NDArray[np.int64]
    digests: NDArray[np.uint8]

    def fill(self, stamps: NDArray[np.int64], digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Set the digests (n, 32) of the files whose stamps (n,) are known, and return which those are (n,)."""
        if not len(self.stamps):
            return np.zeros(len(stamps), dtype=bool)
        order = np.argsort(self.stamps)
        places = order[np.searchsorted(self.stamps, stamps, sorter=order).clip(max=len(order) - 1)]
        known: NDArray[np.bool_] = (self.stamps[places] == stamps) & (stamps != 0)
        digests[known] = self.digests[places[known]]
        return known


@dataclass
class KeptDigests:
    """Digests of the files in folders of images: of those that this command has read in memory, of all in listings.

    A listing is a parquet file of a folder, with the columns stamp and sha256.

    Attributes:
        place: folder of the listings; None: there are none. Nothing is written into a person's own folder of images.
        verify: listing: files of known stamps are not read. contents: each command reads all once.
    """

    place: Path | None = None
    verify: Verify = "listing"
    _read_now: dict[Path, KnownDigests] = field(default_factory=dict)  # 40 bytes a file

    def was_read_now(self, folder: Path) -> bool:
        """Return whether this command has looked at a folder's files before."""
        return folder in self._read_now

    def known(self, folder: Path) -> KnownDigests | None:
        """Return the digests of a folder's files, as far as they are known."""
        return self._read_now.get(folder) or self._read(folder)

    def keep(self, folder: Path, known: KnownDigests, *, changed: bool) -> None:
        """Keep the digests of all files of a folder, and unless nothing has changed write its listing."""
        self._read_now[folder] = known
        if changed and self.place is not None:
            _write(self._path(self.place, folder), folder, known)

    def forget(self) -> None:
        """Drop the digests in memory; the listings stay."""
        self._read_now.clear()

    @staticmethod
    def _path(place: Path, folder: Path) -> Path:
        real = os.fsencode(os.path.realpath(folder))
        return place / f"{hashlib.sha256(real).hexdigest()[:16]}.parquet"

    def _read(self, folder: Path) -> KnownDigests | None:
        """Return the digests in a folder's listing; None without one, or where it is damaged or of another form."""
        if self.place is None or self.verify == "contents":
            return None
        path = self._path(self.place, folder)
        if not path.is_file():
            return None
        import pyarrow as pa  # here, because most sources need no listing
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, page_checksum_verification=True)
            if not table.schema.equals(_schema(), check_metadata=True):
                raise pa.ArrowInvalid("it has other columns")
        except (OSError, pa.ArrowException) as problem:
            logger.warning(
                "%s: this listing cannot be used (%s); all files of %s are read again",
                path,
                first_line(problem),
                folder,
            )
            return None
        columns = table.combine_chunks()
        if not len(columns):
            return None
        digests = np.frombuffer(columns["sha256"].chunk(0).buffers()[1], np.uint8, count=len(columns) * DIGEST)
        return KnownDigests(columns["stamp"].to_numpy(), digests.reshape(-1, DIGEST))

    def noted(self, key: str) -> str:
        """Return what an earlier command has found out about a folder's images; empty where that is not known."""
        if self.place is None or self.verify == "contents":
            return ""
        try:
            return (self.place / f"{key}.json").read_text(encoding="utf-8")
        except (OSError, ValueError):  # absent or damaged
            return ""

    def note(self, key: str, found: str) -> None:
        """Keep what was found out about a folder's images, under a key that names all that it depends on."""
        if self.place is None:
            return
        path = self.place / f"{key}.json"
        try:
            with written_whole(path) as temporary:
                temporary.write_text(found, encoding="utf-8")
        except (OSError, GlowPipelineError) as problem:
            logger.warning("%s: not kept for the next command (%s)", path, first_line(problem))


def _write(path: Path, folder: Path, known: KnownDigests) -> None:
    """Keep digests as the listing of a folder; without room or permission the next command reads all files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = known.stamps != 0
    stamps, digests = (known.stamps, known.digests) if kept.all() else (known.stamps[kept], known.digests[kept])
    buffers = [None, pa.py_buffer(np.ascontiguousarray(digests))]
    columns = [pa.array(stamps), pa.Array.from_buffers(pa.binary(DIGEST), len(stamps), buffers)]
    try:
        with written_whole(path) as temporary:
            # Digests and stamps cannot be compressed.
            pq.write_table(
                pa.table(columns, schema=_schema()),
                temporary,
                compression="none",
                use_dictionary=False,
                write_page_checksum=True,
            )
    except (OSError, GlowPipelineError) as problem:
        logger.warning("%s: the listing of %s is not kept (%s)", path, folder, first_line(problem))


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema({"stamp": pa.int64(), "sha256": pa.binary(DIGEST)}, metadata=FORMAT)
