"""Compute the missing rows of the tables in docs/results, and write the tables.

    python benchmarks/make_tables.py [likelihood expected samples matrix settings published] [--rows NAME ...]

A row that is in docs/results/rows is not computed again: delete its line there to compute it anew. After an
interruption type the same command again: rows are stored as soon as they are computed, and a training resumes from its
checkpoint. Rows whose images cannot be fetched are left out, with a line that says what to type later. A training that
has all that a preset decides, typed by hand or on its own, becomes the row of the preset with --stored.
"""

import argparse
import logging
import signal
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
    trainings.EXPECTED_TABLE: "expected.md",
    samples.TABLE: "samples.md",
    matrix.TABLE: "matrix.md",
    settings.TABLE: "settings.md",
    published.TABLE: "likelihood.md",
}
TABLES = {table.name: table for table in PAGES}
ROWS = ROOT / "docs" / "results" / "rows"
CURVES = ROOT / "docs" / "images" / "expected.png"


def main() -> None:
    """Compute what is missing, and write pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"all if none is typed: {', '.join(TABLES)}")
    parser.add_argument("--rows", nargs="*", default=[], metavar="NAME", help="these rows alone, such as a preset's")
    parser.add_argument("--stored", action="store_true", help="take the newest trainings in data/, and run no command")
    parser.add_argument("--write", action="store_true", help="write the pages from the rows that there are")
    parser.add_argument("--project", type=Path, default=ROOT, help="the checkout with data/, where commands run")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tables = chosen(options.tables, options.rows)
        for table in tables:  # what cannot be read or written ends the command before hours of training
            write_page(table)
        for table in [] if options.write else tables:
            complete(table, ROWS, options.project, options.rows, from_data=options.stored)
            write_page(table)
    except GlowPipelineError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {error.filename}: {error.strerror}; mend this, and type the same command again")
    except KeyboardInterrupt:
        sys.exit(130)


def chosen(names: Sequence[str], rows: Sequence[str]) -> list[Table]:
    """Return the tables with these names; without names all, but with rows alone those whose rows are presets'.

    Raises:
        GlowPipelineError: there is no such table.
    """
    if unknown := [name for name in names if name not in TABLES]:
        raise GlowPipelineError(f"{unknown[0]}: no such table; type some of {', '.join(TABLES)}")
    return [TABLES[name] for name in names] or [each for each in TABLES.values() if each.wanted is None or not rows]


def write_page(table: Table) -> None:
    """Write a table into its page, and the picture that belongs to it.

    Raises:
        GlowPipelineError: a row was stored by another version, or the page has no place for the table.
    """
    rows, page = table.file(ROWS).read(), ROOT / "docs" / "results" / PAGES[table]
    try:
        blocks = table.blocks(rows)
    except KeyError as missing:
        raise GlowPipelineError(f"{table.file(ROWS).path}: a row lacks {missing}; delete its line") from None
    with written_whole(page) as unfinished:
        unfinished.write_text(with_blocks(page, blocks), encoding="utf-8")
    if table is trainings.EXPECTED_TABLE and rows:
        with written_whole(CURVES) as unfinished:
            trainings.curves(rows).savefig(unfinished, format="png", dpi=DPI)


if __name__ == "__main__":
    main()
