"""Rows of a report: the most suspicious images, the table, and the files that could not be read."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glow_pipeline.images.sources.names import printable
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.report.facts import p_value
from glow_pipeline.verdict.report.pictures import eight_bits, heat_map_of, inlined, png_of
from glow_pipeline.verdict.shown import ShownImage

BRIGHT_PIXELS = 0.99  # an image that belongs has 1% of its pixels above


class Row(NamedTuple):
    """A file of the table."""

    rank: int  # 1 is the most suspicious
    name: str  # below the folder that all files share
    verdict: str
    p_value: str
    as_outlying: str  # number of calibration images
    by_bh: bool
    score: str
    copy_of: str  # what it is an exact copy of; "": of nothing
    reason: str  # a sentence

    @property
    def is_outlier(self) -> bool:
        return self.verdict == columns.OUTLIER


class Card(NamedTuple):
    """One of the most suspicious images; pictures are addresses within the page."""

    row: Row
    image: str
    heat_map: str | None
    bright: str  # percentage of its pixels that are more surprising than 99% of those of the calibration images
    nearest: list[str]


class Unreadable(NamedTuple):
    """A file that could not be read."""

    name: str
    reason: str


def common_folder(files: Sequence[str]) -> str:
    """Return the folder that all files are in, or their parents; "" if there is none."""
    try:
        return os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120 # only the text matters
    except ValueError:  # no file, or files of two drives
        return ""


def name_below(folder: str, file: str) -> str:
    """Return a file's name below a folder, on one line and in UTF-8."""
    return printable(os.path.relpath(file, folder) if folder else file)


def rows_of(scored: pd.DataFrame, folder: str, score_column: str) -> list[Row]:
    """Return the rows of files that have a score."""
    return [
        Row(
            rank=int(position) + 1,
            name=name_below(folder, row[columns.FILE]),
            verdict=row[columns.VERDICT],
            p_value=p_value(row[columns.P_VALUE]),
            as_outlying=f"{int(row[columns.AS_OUTLYING]):,}",
            by_bh=bool(row[columns.BH]),
            score=f"{row[score_column]:#.4g}".rstrip("."),
            copy_of=_copy_of(folder, row[columns.COPY_OF]),
            reason=_sentence(row[columns.REASON]),
        )
        for position, row in zip(scored.index, scored.to_dict("records"), strict=True)
    ]


def cards_of(shown: Sequence[ShownImage], rows: Sequence[Row], n_bits: int) -> list[Card]:
    """Return the cards of shown images.

    Args:
        shown: the images.
        rows: the row of each.
        n_bits: of the images.
    """
    return [_card(image, row, n_bits) for image, row in zip(shown, rows, strict=True)]


def unreadable_of(scored: pd.DataFrame, folder: str) -> list[Unreadable]:
    """Return the files without a score, in the order of the table."""
    return [
        Unreadable(name_below(folder, file), printable(reason))
        for file, reason in zip(scored[columns.FILE], scored[columns.UNREADABLE], strict=True)
        if not pd.isna(reason)
    ]


def _card(shown: ShownImage, row: Row, n_bits: int) -> Card:
    image = eight_bits(shown.image, n_bits)
    explanation = shown.explanation
    if explanation is None:
        return Card(row, inlined(png_of(image)), None, "", [])
    return Card(
        row,
        inlined(png_of(image)),
        inlined(png_of(heat_map_of(image, explanation))),
        f"{100 * np.mean(explanation.surprise >= BRIGHT_PIXELS):.1f}%",
        [inlined(png_of(one)) for one in _eight_bits_each(explanation.nearest, n_bits)],
    )


def _eight_bits_each(images: NDArray[np.uint8], n_bits: int) -> list[NDArray[np.uint8]]:
    return [eight_bits(image, n_bits) for image in images]


def _copy_of(folder: str, original: str | None) -> str:
    if original is None or pd.isna(original):
        return ""
    return original if original in (columns.TRAINING, columns.CALIBRATION) else name_below(folder, original)


def _sentence(reason: str | None) -> str:
    """Return a reason as a sentence; "" where there is none."""
    if reason is None or pd.isna(reason) or not reason:
        return ""
    text = printable(reason)
    return f"{text[0].upper()}{text[1:]}."
