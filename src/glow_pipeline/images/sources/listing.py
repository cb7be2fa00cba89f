"""The list of sources with their facts and their files on disk. `make sources` prints it."""

import sys
from pathlib import Path

from glow_pipeline.images.selection import OWN
from glow_pipeline.images.sources.medmnist import FOLDER as MEDMNIST_FOLDER
from glow_pipeline.images.sources.medmnist import SIZES
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.images.sources.source import Source

COLUMNS = ("dataset", "what", "train", "val", "test", "size", "prepared", "classes", "licence", "on disk")


def facts(source: Source) -> tuple[str, ...]:
    """Return all columns but the last, with a dash where images differ or are the user's own."""
    numbers = [f"{count:,}" if count else "-" for count in source.counts]
    size = "any" if source.size is None else f"{source.channels}x{source.size[0]}x{source.size[1]}"
    prepared = f"{source.channels}x{source.default_size[0]}x{source.default_size[1]}"
    classes = "-" if source.name in OWN else str(source.num_classes)
    return source.name, source.title, *numbers, size, prepared, classes, source.licence


def on_disk(source: Source, raw: Path) -> str:
    """Return `yes`, `no` and how to get the files, or which files are missing; checksums are not compared."""
    found, absent = source.on_disk(raw)
    if not absent:
        return "your folder" if source.name in OWN else "yes" if found else "in the wheel"
    if found:
        return f"without {', '.join(path.name for path in absent)}"
    return "no: by hand" if source.manual else "no: fetched when needed"


def listing(raw: Path) -> str:
    """Return all sources as a table of text; MedMNIST's larger sizes only where they are on disk."""
    larger = tuple(f"_{size}" for size in SIZES[1:])
    rows: list[tuple[str, ...]] = [COLUMNS]
    for source in SOURCES.values():
        row = (*facts(source), on_disk(source, raw))
        if not source.name.endswith(larger) or row[-1] == "yes":
            rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(
        [
            *lines,
            "",
            f"MedMNIST's sets (those in {raw / MEDMNIST_FOLDER}) also come larger: {', '.join(larger)} after the name.",
            f"Files are stored in {raw}. By hand: {', '.join(s.name for s in SOURCES.values() if s.manual)};"
            " docs/datasets.md says what goes where.",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(listing(Path(sys.argv[1])) + "\n")
