"""Rows of scored files on disk, in parts that are complete or absent, so that an interrupted command continues."""

import io
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from glow_pipeline.files import written_whole
from glow_pipeline.stores import Store

PART_ROWS = 4096
PART_SECONDS = 5.0

logger = logging.getLogger(__name__)


class StoredParts:
    """The parts that commands have stored of one list of files, scored in one way.

    Several commands may read and write them at once: each part has a name of its own. None deletes a part that it has
    not read, and a part that is deleted meanwhile counts as absent.

    Attributes:
        place: the store.

    Args:
        store: of these parts alone; its name follows from everything that the scores depend on.
    """

    def __init__(self, store: Store) -> None:
        self.place = store
        self._seen: set[str] = set()
        self._parts: list[str] = []  # that could be read

    def __str__(self) -> str:
        return str(self.place)

    def forget(self) -> None:
        """Delete all parts, so that every file is scored again."""
        self.place.delete()

    def read(self, columns: Sequence[str]) -> list[pd.DataFrame]:
        """Return the rows of the parts that were not read before, whatever command wrote them.

        Args:
            columns: a part with others is passed over.
        """
        frames: list[pd.DataFrame] = []
        while names := sorted(self._names() - self._seen):
            self._seen.update(names)
            for name in names:
                try:
                    frame = pd.read_parquet(io.BytesIO(self.place.read(name)))
                    if set(frame) != set(columns):
                        raise ValueError("other columns")
                except FileNotFoundError:  # another command has joined it to others, which the next round finds
                    continue
                except (OSError, ValueError) as problem:
                    logger.warning("%s/%s: passed over, its files are scored again (%s)", self, name, problem)
                    continue
                self._parts.append(name)
                frames.append(frame)
        return frames

    def _names(self) -> set[str]:
        return {name for name in self.place.names() if name.endswith(".parquet")}

    @contextmanager
    def collecting(self) -> "Iterator[PartWriter]":
        """Yield a writer of further parts; what it has when the block ends, in whatever way, is stored."""
        writer = PartWriter(self)
        try:
            yield writer
        finally:
            writer.flush()

    def store(self, rows: pd.DataFrame) -> None:
        """Store rows as a part."""
        name = f"{uuid.uuid4().hex}.parquet"
        if self.place.folder is not None:
            with written_whole(self.place.folder / name) as temporary:
                rows.to_parquet(temporary)
            return
        with TemporaryDirectory() as folder:
            rows.to_parquet(Path(folder) / name)
            self.place.put(name, Path(folder) / name)

    def join(self, rows: pd.DataFrame) -> None:
        """Replace the parts that were read, on a disk, by one that has these rows; in a bucket they stay."""
        if len(self._parts) > 1 and self.place.folder is not None:
            self.store(rows)
            for name in self._parts:
                (self.place.folder / name).unlink(missing_ok=True)
            self._parts = []


class PartWriter:
    """Gathers rows, and stores them as a part when there are many or when some time has passed."""

    def __init__(self, parts: StoredParts) -> None:
        self._parts = parts
        self._waiting: list[pd.DataFrame] = []
        self._stored_at = time.monotonic()

    def add(self, rows: pd.DataFrame) -> None:
        """Add the rows of some files."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= PART_ROWS or time.monotonic() - self._stored_at > PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store what was gathered."""
        if not self._waiting:
            return
        self._parts.store(pd.concat(self._waiting))
        self._waiting, self._stored_at = [], time.monotonic()
