"""The table of datasets in docs/datasets.md, written from the registry.

`python -m glow_pipeline.images.sources.documentation PROJECT` rewrites it; a test fails until it is up to date.
"""

import sys
from pathlib import Path

from glow_pipeline.files import replaced_between
from glow_pipeline.images.sources.listing import COLUMNS, facts
from glow_pipeline.images.sources.medmnist import SIZES
from glow_pipeline.images.sources.registry import SOURCES

START = "<!-- The table is written from src/glow_pipeline/images/sources/registry.py. -->\n"
END = "<!-- End of the table. -->\n"


def table() -> str:
    """Return all sources as a table in Markdown, without MedMNIST's larger sizes."""
    columns = COLUMNS[:-1]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for source in SOURCES.values():
        if not source.name.endswith(tuple(f"_{size}" for size in SIZES[1:])):
            name, *others = facts(source)
            lines.append(f"| {' | '.join([f'`{name}`', *others])} |")
    return "\n".join(lines) + "\n"


def updated(text: str) -> str:
    """Return a text with an up-to-date table between its two marks."""
    return replaced_between(text, START, END, table())


if __name__ == "__main__":
    path = Path(sys.argv[1]) / "docs" / "datasets.md"
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
