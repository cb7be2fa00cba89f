"""Movies: animated pictures."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


@dataclass(frozen=True)
class Movie:
    """An animated picture, and a still figure that shows the same on paper."""

    still: Figure
    frames: list[NDArray[np.uint8]]  # each (height, width, 3)
