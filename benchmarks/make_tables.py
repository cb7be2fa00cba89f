"""Compute the missing rows of the tables in docs/results, and write the tables.

    python benchmarks/make_tables.py [likelihood expected samples matrix settings published] [--rows NAME ...]

A row that is in docs/results/rows is not computed again: delete its line there to compute it anew. After an
interruption type the same command again: rows are stored as soon as they are computed, and a training resumes from its
checkpoint. Rows whose images cannot be fetched are left out, with a line that says what to type later.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from results import matrix, published, samples, settings, trainings
from results.pages import with_blocks
from results.table import Table, complete

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.plots.style import DPI

ROOT = Path(__file__).parents[1]
PAGES = {
    trainings.LIKELIHOOD_TABLE: "likelihood.md",
    published.TABLE: "likelihood.md",
    trainings.EXPECTED_TABLE: "expected.md",
    samples.TABLE: "samples.md",
    matrix.TABLE: "matrix.md",
    settings.TABLE: "settings.md",
}
TABLES = {table.name: table for table in PAGES}
ROWS = ROOT / "docs" / "results" / "rows"
CURVES = ROOT / "docs" / "images" / "expected.png"


def main() -> None:
    """Compute what is missing, and write pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"all if none is typed: {', '.join(TABLES)}")
    parser.add_argument("--rows", nargs="*", default=[], metavar="NAME", help="these rows alone, such as a preset's")
    parser.add_argument("--stored", action="store_true", help="take the newest results in data/, and run no command")
    parser.add_argument("--write", action="store_true", help="write the pages from the rows that there are")
    parser.add_argument("--project", type=Path, default=ROOT, help="the checkout with data/, where commands run")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    try:
        for table in chosen(options.tables, options.rows):
            if not options.write:
                complete(table, ROWS, options.project, options.rows, from_data=options.stored)
            write_page(table)
    except GlowPipelineError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def chosen(names: Sequence[str], rows: Sequence[str]) -> list[Table]:
    """Return the tables with these names; without names all, but with rows alone those whose rows are presets.

    Raises:
        GlowPipelineError: there is no such table.
    """
    if unknown := [name for name in names if name not in TABLES]:
        raise GlowPipelineError(f"{unknown[0]}: no such table; type some of {', '.join(TABLES)}")
    return [TABLES[name] for name in names] or [each for each in TABLES.values() if each.stored or not rows]


def write_page(table: Table) -> None:
    """Write a table into its page, and the picture that belongs to it."""
    rows, page = table.file(ROWS).read(), ROOT / "docs" / "results" / PAGES[table]
    with written_whole(page) as unfinished:
        unfinished.write_text(with_blocks(page, table.blocks(rows)), encoding="utf-8")
    if table is trainings.EXPECTED_TABLE and rows:
        with written_whole(CURVES) as unfinished:
            trainings.curves(rows).savefig(unfinished, format="png", dpi=DPI)


if __name__ == "__main__":
    main()
