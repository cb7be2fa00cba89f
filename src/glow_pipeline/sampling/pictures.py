"""Parts of the pictures of several modes: 8-bit images, crosses over broken ones, and the frames of a movement."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.grids import cross_out, frame, labelled_grid
from glow_pipeline.plots.movie import Movie
from glow_pipeline.sampling.decoding import Decoded, Movement

STILL_ROWS, STILL_COLUMNS = 6, 9

T = TypeVar("T")

logger = logging.getLogger(__name__)


def shown(flow: Glow, decoded: Decoded) -> Tensor:
    """Return 8-bit RGB images on the CPU, crossed out where the flow's inverse overflowed."""
    return cross_out(flow.dequantization.expand(decoded.images).cpu(), decoded.broken.cpu())


def warning(broken: Tensor, where: str = "") -> str:
    """Return the part of a title about images that could not be computed, and log it; empty if there is none.

    Args:
        broken: bool (n,).
        where: from which step on.
    """
    if not broken.any():
        return ""
    text = f"{int(broken.sum())} of {len(broken)} not finite{where}; crossed out"
    logger.warning("Samples: %s. The flow's inverse overflows on them.", text)
    return f" ({text})"


def broken_at_any_step(*movements: Movement) -> Tensor:
    """Return bool (n,), true for images that could not be computed at some step."""
    return torch.stack([step for movement in movements for step in movement.broken]).any(dim=0)


def steps_and_columns(moving: Callable[[int], Movement], frames: int, columns: int) -> tuple[Movement, Movement]:
    """Return the steps of a movie and those of its still picture: fewer, and computed separately to be evenly spaced.

    Args:
        moving: computes a movement of so many steps.
        frames: steps of the movie.
        columns: most steps of the still picture.
    """
    steps = moving(frames)
    return steps, steps if frames <= columns else moving(columns)


def movie(flow: Glow, steps: Movement, columns: list[Decoded], column_labels: list[str], title: str) -> Movie:
    """Return a movie that plays forwards and backwards, and its still picture with one row an image.

    Args:
        flow: the model.
        steps: steps of the movie.
        columns: images of the still picture's columns.
        column_labels: a label for each column.
        title: title of the still picture.
    """
    images = [shown(flow, column) for column in columns]
    rows = [torch.stack([column[row] for column in images]) for row in range(min(STILL_ROWS, len(images[0])))]
    still = labelled_grid(rows, column_labels=column_labels, title=title)
    return Movie(still, [frame(shown(flow, step)) for step in forward_and_back(steps.decoded)])


def forward_and_back(images: list[T]) -> list[T]:
    """Return a sequence that ends where it began, each turning point once."""
    return images + images[-2:0:-1]
