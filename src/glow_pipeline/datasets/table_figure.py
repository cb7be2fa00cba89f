"""A picture of an image table: some of its images, and how many there are."""

import numpy as np
from matplotlib.figure import Figure

from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.images.summary import summary
from glow_pipeline.images.table import ImageTable
from glow_pipeline.plots.grids import square_grid

SHOWN = 49
NAMED_CLASSES = 12


def table_figure(table: ImageTable) -> Figure:
    """Draw images from everywhere in the table, under the number of all, of each class, and their size and bits."""
    record = table.record
    positions = np.unique(np.linspace(0, len(table) - 1, SHOWN).round().astype(np.int64))
    images, _ = table[positions]
    title = f"{record.title}: {summary(table)}{_classes(table)}; {record.image_format.size_and_bits}"
    return square_grid(Dequantization(record.image_format.n_bits).expand(images), title)


def _classes(table: ImageTable) -> str:
    """Return the number of images of each class whose classes have numbers; of a folder `summary` names them."""
    if table.record.class_names or table.record.num_classes < 2:
        return ""
    counts = {number: int(count) for number, count in enumerate(np.bincount(table.labels.numpy())) if count}
    if len(counts) > NAMED_CLASSES:
        return f" of {len(counts)} classes, {min(counts.values()):,} to {max(counts.values()):,} of each"
    return " of class " + ", ".join(f"{number} ({count:,})" for number, count in counts.items())
