"""Rows of tables in docs/results/rows: a JSON file a table, a line a row, sorted by name."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole

Row = dict[str, Any]
Rows = Mapping[str, Row]


class RowLeftOut(Exception):  # noqa: N818  # no error: the other rows are computed
    """A row that cannot be computed here; the message says why, and what to do."""


class RowFile:
    """The stored rows of one table, by name.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Let no other command compute rows of this file within the block.

        Raises:
            GlowPipelineError: another command does.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=0):
                yield
        except Timeout:
            raise GlowPipelineError(f"{self.path}: another command computes its rows; wait until it ends") from None

    def read(self) -> dict[str, Row]:
        """Return all rows.

        Raises:
            GlowPipelineError: the file is not what `add` writes.
        """
        if not self.path.is_file():
            return {}
        try:
            text = self.path.read_text(encoding="utf-8").replace(",\n}", "\n}")  # the last line may have been deleted
            rows = json.loads(text)
        except ValueError as damaged:
            raise GlowPipelineError(f"{self.path}: {damaged}; git checkout restores it") from None
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise GlowPipelineError(f"{self.path}: should have a row by each name; git checkout restores it")
        return rows

    def add(self, name: str, row: Row) -> None:
        """Store a row, in place of its namesake."""
        rows = {**self.read(), name: row}
        lines = [f"{json.dumps(each)}: {json.dumps(rows[each], sort_keys=True)}" for each in sorted(rows)]
        with written_whole(self.path) as unfinished:
            unfinished.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
