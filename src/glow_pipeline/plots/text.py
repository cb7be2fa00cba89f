"""Text that fits into a width: names of datasets and folders may have any length."""

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

ELLIPSIS = "…"
POINTS_PER_INCH = 72
SLACK = 1.05  # a renderer that hints its glyphs draws them a little wider than they are measured here


def width(text: str, size: float) -> float:
    """Return the inches that one line of text takes at this size in points."""
    points, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return SLACK * float(points) / POINTS_PER_INCH


def shorten(text: str, inches: float, size: float) -> str:
    """Return one line that is no wider than this: the text, or its start and its end around an ellipsis."""
    if width(text, size) <= inches:
        return text
    low, high = 0, len(text)  # with `low` characters the line is narrow enough, with `high` too wide
    while high - low > 1:
        kept = (low + high) // 2
        low, high = (kept, high) if width(_around_ellipsis(text, kept), size) <= inches else (low, kept)
    return _around_ellipsis(text, low)


def wrap(text: str, inches: float, size: float, max_lines: int = 3) -> str:
    """Return lines no wider than this, broken between words; words that are too wide alone are shortened."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or width(longer, size) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], " ".join(lines[max_lines - 1 :])]
    return "\n".join(shorten(line, inches, size) for line in lines)


def _around_ellipsis(text: str, kept: int) -> str:
    """Return the text with an ellipsis in place of its middle; `kept` characters of it are left."""
    start = (kept + 1) // 2
    return text[:start] + ELLIPSIS + text[len(text) - (kept - start) :]
