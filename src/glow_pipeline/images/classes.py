"""Choice of classes: by number, by range, or, of a folder, by name."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.rows import Rows

NAMED_AT_MOST = 10
KEY_LENGTH = 40  # characters
KEY_BYTES = 80

Choice = tuple[int | str, ...]
"""Numbers, ranges (`0-4`) and names, as typed."""


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a sort key by which numbers in names count as numbers: `2` before `10`."""
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
    return parts, name


def numbers(choice: Iterable[int | str]) -> tuple[int, ...] | None:
    """Return the chosen numbers in order, each once; None if a part is neither a number nor a range."""
    found: set[int] = set()
    for part in choice:
        run = _range(part)
        if run is None:
            return None
        found.update(run)
    return tuple(sorted(found))


def choose(choice: Choice, class_names: Sequence[str]) -> list[int]:
    """Return the positions of the chosen classes among those of a folder, in order.

    A part of the choice is the class of that name. Otherwise a number, or each of a range, is the class whose name is
    that number; if no class is named by a number it is the class at that position.

    Raises:
        GlowPipelineError: a part is not a class.
    """
    if not any(class_names):
        raise GlowPipelineError("it has no classes, since images are directly in it; move each into its class's folder")
    places = {name: place for place, name in enumerate(class_names)}
    complete = "+".join(map(str, choice))  # a folder may be called `cats+dogs`
    if complete in places:
        return [places[complete]]
    by_number = {int(name): place for name, place in places.items() if re.fullmatch("[0-9]+", name)}
    by_number = by_number or dict(enumerate(range(len(class_names))))
    chosen: set[int] = set()
    for part in choice:
        found = (
            [places[str(part)]] if str(part) in places else [by_number[k] for k in _range(part) or () if k in by_number]
        )
        if not found:
            near = get_close_matches(str(part), class_names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {shorten(class_names)}"
            raise GlowPipelineError(f"no class is called {part}; {hint}")
        chosen.update(found)
    return sorted(chosen)


def position(number: int, class_names: Sequence[str]) -> int:
    """Return the position of the class that `choose` finds by a number; the number itself where classes have no names.

    Raises:
        GlowPipelineError: there is no such class.
    """
    return choose((number,), class_names)[0] if any(class_names) else number


def positions(choice: Iterable[int | str], class_names: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of the chosen classes: those of `choose`; the numbers themselves where none has a name.

    Raises:
        GlowPipelineError: a part is not a class.
    """
    chosen = tuple(choice)
    if any(class_names):
        return tuple(choose(chosen, class_names))
    found = numbers(chosen)
    if found is None:
        raise GlowPipelineError(f"no class is called {'+'.join(map(str, chosen))}; these have numbers only")
    return found


def chosen_rows(labels: NDArray[np.int64], choice: Choice | None, class_names: Sequence[str]) -> Rows:
    """Return the rows of the chosen classes (n,), in order.

    Args:
        labels: labels of all images (N,).
        choice: None for all.
        class_names: names of the classes by number; empty where they have numbers only.

    Raises:
        GlowPipelineError: a part of the choice is not a class of the folder.
    """
    if choice is None:
        return range(len(labels))
    return np.flatnonzero(np.isin(labels, choose(choice, class_names) if class_names else choice))


def shorten(names: Sequence[str], at_most: int = NAMED_AT_MOST) -> str:
    """Return `cats, dogs, ...`."""
    more = f", ... ({len(names)} in all)" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def key_of(choice: Choice) -> str:
    """Return a folder name that no other choice has: `0-2_7`, `cats__dogs`."""
    chosen = numbers(choice)
    if chosen is not None:
        text = _ranges(chosen)
        return text if len(text) <= KEY_LENGTH else short_hash(text)
    joined = "__".join(map(str, choice))  # not `_`: there may be a class `cats_dogs`
    key = sanitise(joined)
    exact = key == joined and joined.count("__") == len(choice) - 1 and "___" not in joined
    return key if exact else f"{key}_{short_hash('+'.join(map(str, choice)))}"


def sanitise(name: str) -> str:
    """Return the name as a part of a file's name: letters and digits of any script, `-` and `_`; short, never empty.

    Names that look the same get one form (Unicode's NFC). A hash replaces a name without letters and digits, and is
    appended to a shortened one.
    """
    normal = unicodedata.normalize("NFC", name)
    kept = "".join(c if c.isalnum() or c in "-_" or unicodedata.category(c)[0] == "M" else " " for c in normal)
    text = "_".join(kept.split())
    if not any(c.isalnum() for c in text):
        return short_hash(name)
    if len(text) <= KEY_LENGTH and len(text.encode()) <= KEY_BYTES:
        return text
    while len(text) > KEY_LENGTH or len(text.encode()) > KEY_BYTES:
        text = text[:-1]
    return f"{text}_{short_hash(name)}"


def short_hash(text: str) -> str:
    """Return eight hex digits of a text's SHA-256."""
    return sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def _range(part: int | str) -> range | None:
    """Parse `3` and `0-4` as ranges of numbers of five digits at most, since ranges are expanded."""
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", str(part))
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return range(first, last + 1) if first <= last else None


def _ranges(classes: Sequence[int]) -> str:
    """Shorten numbers in order: (0, 1, 2, 7) -> `0-2_7`."""
    runs: list[list[int]] = []
    for k in classes:
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return "_".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
