"""The contact sheet: the most suspicious images with their heat maps, in one picture."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from glow_pipeline.plots.axes import single_axes
from glow_pipeline.plots.ranked_images import SMALL, RankedRow, ranked_images
from glow_pipeline.plots.style import TITLE
from glow_pipeline.plots.text import wrap
from glow_pipeline.verdict.report.pictures import beside_its_heat_map
from glow_pipeline.verdict.report.rows import Row
from glow_pipeline.verdict.shown import ShownImage

PAIRS, SINGLE = 2, 4  # images in a row, with and without their heat maps
CELLS = {PAIRS: 2.2, SINGLE: 1.1}  # inches


def contact_sheet(shown: Sequence[ShownImage], rows: Sequence[Row], n_bits: int, title: str) -> Figure:
    """Draw the shown images, each beside its heat map if it has one, with rank, file, p-value, verdict and reason.

    Args:
        shown: the images, the most suspicious first; there may be none.
        rows: the row of each.
        n_bits: of the images.
        title: is broken into lines.
    """
    if not shown:
        figure, axes = single_axes(6.0, 1.0)
        axes.axis("off")
        text = wrap(f"{title}: no image", 5.8, TITLE)
        axes.text(0, 0.5, text, fontsize=TITLE, va="center", in_layout=False, parse_math=False)
        return figure
    a_row = SINGLE if shown[0].explanation is None else PAIRS
    pictures = [torch.from_numpy(beside_its_heat_map(image, n_bits)) for image in shown]
    captions = [
        (f"{row.rank}. {row.name}", f"p {row.p_value}, {row.verdict}", *_lines(row.reason, CELLS[a_row]))
        for row in rows
    ]
    ranked = [
        RankedRow(_heading(i, len(pictures[i : i + a_row])), pictures[i : i + a_row], captions[i : i + a_row])
        for i in range(0, len(pictures), a_row)
    ]
    return ranked_images(ranked, title, CELLS[a_row])


def _lines(reason: str, inches: float) -> list[str]:
    return wrap(reason, inches, SMALL, max_lines=5).split("\n") if reason else []


def _heading(start: int, n: int) -> str:
    return f"{start + 1} to {start + n}" if n > 1 else f"{start + 1}"
