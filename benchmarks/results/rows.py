"""Rows of tables in docs/results/rows: a JSON file a table, a line a row, sorted by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole

Row = dict[str, Any]
Rows = Mapping[str, Row]


class RowFile:
    """The stored rows of one table, by name.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Row]:
        """Return all rows.

        Raises:
            GlowPipelineError: the file is not what `add` writes.
        """
        if not self.path.is_file():
            return {}
        text = self.path.read_text(encoding="utf-8").replace(",\n}", "\n}")  # the last line may have been deleted
        try:
            rows: dict[str, Row] = json.loads(text)
        except json.JSONDecodeError as damaged:
            raise GlowPipelineError(f"{self.path}: {damaged}; git checkout restores it") from None
        return rows

    def add(self, name: str, row: Row) -> None:
        """Store a row, beside those that other processes have stored meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            rows = {**self.read(), name: row}
            lines = [f"{json.dumps(each)}: {json.dumps(rows[each], sort_keys=True)}" for each in sorted(rows)]
            with written_whole(self.path) as unfinished:
                unfinished.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
