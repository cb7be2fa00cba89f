"""The content of a table, in one line."""

from itertools import islice

import numpy as np

from glow_pipeline.images.classes import NAMED_AT_MOST, shorten
from glow_pipeline.images.sources.image_files import list_counts
from glow_pipeline.images.table import ImageTable

FILES_AT_MOST = 3


def summary(table: ImageTable) -> str:
    """Return `30 images: cats (10), dogs (20); left out: 10 .dcm; 1 unreadable: 003.png (empty file)`."""
    record = table.record
    parts = [f"{len(table):,} image{'' if len(table) == 1 else 's'}{_classes(table)}"]
    if record.passed_over:
        parts.append(f"left out: {list_counts(record.passed_over)}")
    if record.n_unreadable:
        named = [f"{file} ({reason})" for file, reason in islice(table.unreadable(), FILES_AT_MOST)]
        more = ", ..." if record.n_unreadable > FILES_AT_MOST else ""
        parts.append(f"{record.n_unreadable:,} unreadable: {', '.join(named)}{more}")
    return "; ".join(parts)


def _classes(table: ImageTable) -> str:
    """Return the number of images of each class in the table; empty with a single class or classes without names."""
    names = table.record.class_names
    counts = np.bincount(table.labels.numpy(), minlength=len(names))
    found = [f"{name or 'no class'} ({count:,})" for name, count in zip(names, counts, strict=False) if count]
    return "" if names in ([], [""]) else f": {shorten(found, NAMED_AT_MOST)}"
