"""Published figures: written by hand in docs/results/rows/published.json, each with its source."""

from results.pages import table
from results.rows import Rows
from results.table import Table


def blocks(rows: Rows) -> dict[str, str]:
    """Return all published figures."""
    keys = ("images", "preset", "model", "bits_per_dim", "conditions", "source")
    columns = ("images", "preset", "model", "bits/dim", "conditions", "source")
    return {"published": table(columns, ([str(row[key]) for key in keys] for row in rows.values()))}


TABLE = Table("published", blocks, wanted=lambda _: ())
