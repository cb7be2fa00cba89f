"""Parts of the pictures of several modes: titles, images in 8 bits, crosses over broken ones, frames of a movement."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.titles import model_title
from glow_pipeline.plots.grids import cross_out, frame, labelled_grid
from glow_pipeline.plots.movie import Movie
from glow_pipeline.sampling.decoding import Decoded, Movement
from glow_pipeline.sampling.mode import SampleRequest

STILL_ROWS = 6

logger = logging.getLogger(__name__)


def titled(request: SampleRequest, subject: str, temperature: float | None = None) -> str:
    """Return the title of a mode's picture: model, size and bits, subject and temperature.

    For example `Glow on digits (1x8x8, 4 bits): samples, temperature 0.7`.

    Args:
        request: the model and its dataset.
        subject: the picture in a few words.
        temperature: factor on the latents of all images, where they have one.
    """
    flow = request.flow
    return model_title(request.dataset, flow.image_shape, flow.dequantization.n_bits, subject, temperature)


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


def steps_and_columns(
    moving: Callable[[list[float]], Movement], last: float, frames: int, columns: int
) -> tuple[Movement, Movement]:
    """Return the steps of a movie and those of its still picture, each evenly spaced from 0 to `last`.

    The columns do not depend on the number of frames: columns chosen among the frames would be unevenly spaced, or
    leave out the middle.

    Args:
        moving: computes the images at given coordinates.
        last: the coordinate of the last step.
        frames: steps of the movie, both ends counted.
        columns: steps of the still picture, both ends counted.
    """
    return moving(even_steps(last, frames)), moving(even_steps(last, columns))


def even_steps(last: float, n: int) -> list[float]:
    """Return n >= 2 evenly spaced coordinates from 0 to `last`, both included."""
    return [last * (i / (n - 1)) for i in range(n)]


def movie(flow: Glow, steps: Movement, columns: list[Decoded], column_labels: list[str], title: str) -> Movie:
    """Return a movie, and its still picture with one row for each of the first images.

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
    return Movie(still, [frame(shown(flow, step)) for step in steps.decoded])
