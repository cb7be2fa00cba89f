"""The sets of outliers of a benchmark, by name: published images, images that are changed, and controls."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from glow_pipeline.images.classes import numbers
from glow_pipeline.images.selection import OWN, ImageSelection
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from glow_pipeline.registry import ALL

Kind = Literal["near", "far", "control"]

CALIBRATION = "calibration"  # the calibration images against the test images, which no score should separate
CONTROLS = (CALIBRATION, *(name for name, change in CHANGES.items() if change.is_control))


def selection_of(name: str) -> ImageSelection | None:
    """Return the published images of a name, `mnist` or `pneumoniamnist_class_1`; None if it names none.

    Classes are numbers and ranges as in the name of a folder of results: `mnist_class_0-4_7`.
    """
    source, classes = name, None
    if name not in SOURCES and (found := re.fullmatch(r"(\w+?)_class_([0-9_-]+)", name)) is not None:
        source, classes = found[1], found[2].split("_")
    if source not in SOURCES or source in OWN:
        return None
    chosen = None if classes is None else numbers(classes)
    if classes is not None and (chosen is None or max(chosen) >= SOURCES[source].num_classes):
        return None
    return ImageSelection.of(source, chosen)


def is_out_set(name: str) -> bool:
    """Return whether a name stands for a set of outliers."""
    return name in CHANGES or name == CALIBRATION or selection_of(name) is not None


def out_set_names(names: Iterable[str], inside: ImageSelection, raw: Path) -> list[str]:
    """Return the sets to compare with, each once; `all` stands for all controls, changes and sets on disk.

    Args:
        names: as typed.
        inside: the in-distribution images, of which no set of `all` may have any.
        raw: folder of downloads.
    """
    given = [name for each in names for name in (_all(inside, raw) if each == ALL else [each])]
    selections = {name: selection_of(name) for name in given}
    return list(dict.fromkeys(name if selection is None else selection.key for name, selection in selections.items()))


def kind_of(name: str, inside: ImageSelection) -> Kind:
    """Return whether a set is near: other classes of the same source, or its own images changed; far; or a control."""
    if name in CONTROLS:
        return "control"
    out = selection_of(name)
    return "near" if out is None or _family(out) == _family(inside) else "far"


def _all(inside: ImageSelection, raw: Path) -> list[str]:
    sets: dict[str, str] = {}
    for source in SOURCES.values():
        selection = ImageSelection.of(source.name)
        _, absent = source.on_disk(raw, ["test"])
        if source.name not in OWN and not absent and not selection.overlaps(inside):
            sets.setdefault(_family(selection), source.name)  # of one set in several sizes the first
    return [*CONTROLS, *sets.values(), *(name for name in CHANGES if name not in CONTROLS)]


def _family(selection: ImageSelection) -> str:
    """Return the name that sets of the same images in several sizes share."""
    return selection.source.partition("_")[0]
