"""Published figures: written by hand in docs/results/rows/published.json, each with its source."""

from pathlib import Path

from results.pages import table
from results.rows import Row, Rows
from results.table import RowLeftOut, Table

COLUMNS = ("images", "preset", "model", "bits/dim", "conditions", "source")


def blocks(rows: Rows) -> dict[str, str]:
    """Return all published figures."""
    keys = ("images", "preset", "model", "bits_per_dim", "conditions", "source")
    lines = ([str(row[key]) for key in keys] for row in rows.values())
    return {"published": table(COLUMNS, lines)}


def _not_computed(_name: str, _project: Path) -> Row:
    raise RowLeftOut("figures of others are not computed; write them into docs/results/rows/published.json")


TABLE = Table("published", lambda _: (), _not_computed, blocks)
