"""Rows of scored files on disk, in parts that are complete or absent, so that an interrupted command continues."""

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from glow_pipeline.files import written_whole

PART_ROWS = 4096
PART_SECONDS = 5.0

logger = logging.getLogger(__name__)


class StoredParts:
    """The parts that commands have stored of one list of files, scored in one way.

    Several commands may read and write them at once: each part has a name of its own. None deletes a part that it has
    neither read nor written, and a part that is deleted meanwhile counts as absent.

    Args:
        folder: of these parts alone; its name follows from everything that the scores depend on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Path] = []

    def forget(self) -> None:
        """Delete all parts, so that every file is scored again."""
        for path in self._folder.glob("[!.]*.parquet"):
            path.unlink(missing_ok=True)

    def read(self, columns: Sequence[str]) -> list[pd.DataFrame]:
        """Return the rows of all parts that have these columns."""
        frames = []
        for path in sorted(self._folder.glob("[!.]*.parquet")):
            try:
                frame = pd.read_parquet(path)
                if set(frame) != set(columns):
                    raise ValueError("other columns")
            except FileNotFoundError:  # another command has joined it to others
                continue
            except (OSError, ValueError) as problem:
                logger.warning("%s: passed over, its files are scored again (%s)", path, problem)
                continue
            self._parts.append(path)
            frames.append(frame)
        return frames

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
        path = self._folder / f"{uuid.uuid4().hex}.parquet"
        with written_whole(path) as temporary:
            rows.to_parquet(temporary)
        self._parts.append(path)

    def join(self, rows: pd.DataFrame) -> None:
        """Replace the parts that were read or written by one that has these rows."""
        parts = self._parts
        if len(parts) > 1:
            self._parts = []
            self.store(rows)
            for part in parts:
                part.unlink(missing_ok=True)


class PartWriter:
    """Gathers rows, and stores them as a part when there are many or when some time has passed."""

    def __init__(self, parts: StoredParts) -> None:
        self._parts = parts
        self._waiting: list[pd.DataFrame] = []
        self._stored_at = time.monotonic()
        self.frames: list[pd.DataFrame] = []

    def add(self, rows: pd.DataFrame) -> None:
        """Add the rows of some files."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= PART_ROWS or time.monotonic() - self._stored_at > PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store what was gathered."""
        if not self._waiting:
            return
        rows = pd.concat(self._waiting)
        self._parts.store(rows)
        self.frames.append(rows)
        self._waiting, self._stored_at = [], time.monotonic()
