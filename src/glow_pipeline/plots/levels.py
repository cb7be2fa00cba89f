"""Bits per dimension, level by level."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from glow_pipeline.plots.axes import LEGEND, set_title, single_axes
from glow_pipeline.plots.style import BLUE, GREY, ORANGE, legible

WIDTH, HEIGHT, EACH, BAR = 7.0, 4.4, 1.4, 0.3  # inches; the last one is relative to the distance of two levels
FEW = 3  # levels in a figure of that width


class LevelPart(NamedTuple):
    """Mean bits per dimension of the image that one level contributes.

    Attributes:
        shape: (C, H, W) of its latent.
        latent, determinant: of its latent, and of the log-determinant of its steps.
    """

    shape: tuple[int, int, int]
    latent: float
    determinant: float


def bits_by_level(grey_levels: float, levels: Sequence[LevelPart], total: float, title: str) -> Figure:
    """Draw what dequantization and each level contribute to the bits per dimension, and their sum.

    Each level has three bars: its latent's, its log-determinant's, and their sum. Of more than three levels only the
    sums have numbers.

    Args:
        grey_levels: bits of a grey level, which an image has without a model.
        levels: the levels, finest first.
        total: the sum of everything.
        title: names the images.
    """
    width = max(WIDTH, WIDTH + EACH * (len(levels) - FEW))
    figure, axes = single_axes(width, HEIGHT)
    size = legible(width, LEGEND)
    places = np.arange(len(levels)) + 1.0
    latents, determinants = [level.latent for level in levels], [level.determinant for level in levels]
    sums = [level.latent + level.determinant for level in levels]
    ends = axes.bar([0, len(levels) + 1], [grey_levels, total], BAR * 2, color=GREY)
    bars = (
        axes.bar(places - BAR, latents, BAR, color=BLUE, label="latent"),
        axes.bar(places, determinants, BAR, color=ORANGE, label="log-determinant"),
        axes.bar(places + BAR, sums, BAR, color=GREY, label="both"),
    )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.bar_label(ends, fmt="%.2f", fontsize=size, padding=2)
    for container in bars if len(levels) <= FEW else bars[-1:]:  # of more, numbers would cover each other
        axes.bar_label(container, fmt=_number, fontsize=size, padding=2)
    labels = [
        "without\na model",
        *(f"level {i}\n{_size(level.shape)}" for i, level in enumerate(levels, start=1)),
        "bits/dim\n(sum)",
    ]
    axes.set_xticks(range(len(levels) + 2), labels, fontsize=size)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.45, len(levels) + 1.45)
    axes.margins(y=0.12)
    axes.set_ylabel("bits per dimension")
    set_title(axes, title)
    figure.legend(loc="outside lower center", ncols=3, fontsize=size)
    return figure


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _number(value: float) -> str:
    """Return `+2.05`, `-1.10`."""
    return f"{value:+.2f}" if math.isfinite(value) else "not finite"
