"""The presets that tables have rows of."""

from collections.abc import Iterable

PRESETS = (
    "digits",
    "mnist",
    "fashionmnist",
    "pneumoniamnist",
)  # rows of other presets are computed when they are named


def ordered(names: Iterable[str]) -> list[str]:
    """Return the names of rows, those of `PRESETS` first."""
    return sorted(names, key=lambda name: (PRESETS.index(name) if name in PRESETS else len(PRESETS), name))
