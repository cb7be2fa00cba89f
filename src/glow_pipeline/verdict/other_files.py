"""Files that are stored in another way than those of the calibration images: a reason to doubt the verdicts on them."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from glow_pipeline.images.file_formats import FileFormat, FileFormats
from glow_pipeline.verdict.columns import COLOURS, HEIGHT, KIND, WIDTH
from glow_pipeline.verdict.sentences import files_are, listed

CONSEQUENCE = "the false-alarm rate is not guaranteed for them"
SIZES_LISTED = 3


def other_files(scored: pd.DataFrame, calibration_files: FileFormats | None) -> Iterator[str]:
    """Yield how many files differ from those of the calibration images in kind, size or colours.

    Args:
        scored: the files with a score, with `columns`.
        calibration_files: formats of the files or arrays that the calibration images are from; None: unknown.
    """
    if calibration_files is None or not calibration_files.count:
        return
    kinds: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    colours: Counter[str] = Counter()
    stored = scored[[KIND, WIDTH, HEIGHT, COLOURS]].dropna()
    for (kind, width, height, colour), count in Counter(stored.itertuples(index=False, name=None)).items():
        file = FileFormat(kind, int(width), int(height), colour)
        kinds[file.kind] += count * (not calibration_files.has_kind(file))
        sizes[file.size] += count * (not calibration_files.has_size(file))
        colours[file.colours] += count * (file.colours not in calibration_files.colours)
    m = len(scored)
    if other := kinds.total():
        yield (
            f"{files_are(other, m)} {listed(+kinds)}, the calibration images {listed(calibration_files.kinds)}: "
            f"compression leaves traces that a model sees, and {CONSEQUENCE}."
        )
    if other := sizes.total():
        yield (
            f"{files_are(other, m)} of a size that no calibration image has ({listed(+sizes, SIZES_LISTED)}; those are "
            f"{_sizes(calibration_files)}): resized in another ratio they may look different to the model, and "
            f"{CONSEQUENCE}."
        )
    if other := colours.total():
        yield (
            f"{files_are(other, m)} stored {'in colour' if 'colour' in +colours else 'as grey'}, unlike all "
            f"calibration images: {CONSEQUENCE}."
        )


def _sizes(files: FileFormats) -> str:
    if len(files.sizes) <= SIZES_LISTED:
        return listed(files.sizes)
    (narrow, wide), (low, high) = files.widths, files.heights
    return f"{narrow} to {wide} wide and {low} to {high} high"
