"""A picture that moves."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


@dataclass(frozen=True)
class Movie:
    """Frames, and a still picture that tells the same story on paper."""

    still: Figure
    frames: list[NDArray[np.uint8]]  # each (height, width, 3)
