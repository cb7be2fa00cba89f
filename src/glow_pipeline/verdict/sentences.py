"""Parts of the sentences that explain verdicts."""

from collections.abc import Iterable
from itertools import islice

from glow_pipeline.counting import plural

ROUNDING = 1e-15  # of float64: a computed p-value below it is a small one, and its digits mean nothing


def files_are(count: int, of: int) -> str:
    """Return subject and verb of a sentence: `3 of 312 files are`."""
    return f"{count:,} of {of:,} files {plural(count, 'is', 'are')}"


def listed(names: Iterable[str], at_most: int = 5) -> str:
    """Return the first names, joined: `PNG, JPEG, ...`."""
    first = list(islice(names, at_most + 1))
    return ", ".join([*first[:at_most], *(["..."] if len(first) > at_most else [])])


def percent(share: float) -> str:
    """Return a share in percent with three significant digits: `1.52%`."""
    return f"{100 * share:.3g}%"


def p_is(p: float) -> str:
    """Return the statement of a p-value with two significant digits, `p = 0.56`; below rounding, `p < 1e-15`."""
    return f"p = {p:.2g}" if p >= ROUNDING else f"p < {ROUNDING:g}"
