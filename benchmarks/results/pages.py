"""Tables in the pages of docs/results, between marks that name them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from glow_pipeline.files import replaced_between

START, END = "<!-- table: {}; written by `make results` -->\n", "<!-- end of table -->\n"
NONE_YET = "\nNo row yet.\n\n"


def with_blocks(page: Path, blocks: Mapping[str, str]) -> str:
    """Return the text of a page with these tables in their places; others stay.

    Raises:
        GlowPipelineError: a table has no place in the page.
    """
    text = page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        text = replaced_between(text, START.format(name), END, block)
    return text


def table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    written = ["| " + " | ".join(cells) + " |" for cells in lines]
    if not written:
        return NONE_YET
    return "\n".join(["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *written, "", ""])
