"""Values in markdown: whatever characters they have, they are shown as they are and change nothing around them."""

import re

from glow_pipeline.images.sources.names import printable

SPECIAL = re.compile(r"([\\`*\[\]<>|~&#$]|(?<![^\W_])_|_(?![^\W_]))")  # of underscores those that are not in a word


class Markdown(str):
    """A text that is markdown already."""

    __slots__ = ()


def escaped(value: object) -> str:
    """Return a value as markdown that shows it on one line."""
    return value if isinstance(value, Markdown) else SPECIAL.sub(r"\\\1", printable(str(value)))


def code(value: object) -> Markdown:
    """Return a value as a code span, also within a table."""
    text = printable(str(value)).replace("|", r"\|")
    ticks = _longer_than_any_in(text, 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return Markdown(f"{ticks}{space}{text}{space}{ticks}") if text else Markdown("")


def fenced(text: str, language: str = "") -> Markdown:
    """Return lines as a code block."""
    lines = "\n".join(printable(line) for line in text.splitlines())
    fence = _longer_than_any_in(lines, 3)
    return Markdown(f"{fence}{language}\n{lines}\n{fence}")


def _longer_than_any_in(text: str, least: int) -> str:
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])
