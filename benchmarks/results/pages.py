"""Tables in the pages of docs/results, between marks that name them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from glow_pipeline.errors import GlowPipelineError

PLACE = re.compile(r"(<!-- table: (\w+); written by `make results` -->\n).*?(<!-- end of table -->\n)", re.DOTALL)
NONE_YET = "\nNo row yet.\n\n"


def with_blocks(page: Path, blocks: Mapping[str, str]) -> str:
    """Return the text of a page with these tables in their places; others stay.

    Raises:
        GlowPipelineError: a table has no place in the page.
    """
    text = page.read_text(encoding="utf-8")
    if missing := blocks.keys() - {place[2] for place in PLACE.finditer(text)}:
        name = min(missing)
        raise GlowPipelineError(
            f"{page}: has no place for the table {name}; add two lines, "
            f"<!-- table: {name}; written by `make results` --> and <!-- end of table -->"
        )
    return PLACE.sub(lambda place: f"{place[1]}{blocks[place[2]]}{place[3]}" if place[2] in blocks else place[0], text)


def table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    written = ["| " + " | ".join(cells) + " |" for cells in lines]
    if not written:
        return NONE_YET
    return "\n".join(["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *written, "", ""])
