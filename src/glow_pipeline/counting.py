"""Numbers with their words: `1 file is`, `3 classes`."""


def plural(count: int, one: str, many: str) -> str:
    """Return the word for one or for many."""
    return one if count == 1 else many


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 epoch`, `3,000 epochs`, `2 classes`.

    Args:
        count: the number.
        one: the noun of one.
        many: that of many; None: with an s.
    """
    return f"{count:,} {plural(count, one, many or f'{one}s')}"
