"""Movies: animated pictures."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # (height, width, 3)


@dataclass(frozen=True)
class Movie:
    """An animated picture, and a still figure that shows the same on paper.

    Attributes:
        still: the figure.
        frames: the steps of the movement from one end to the other, all of one size.
        keep_frames: whether each frame is also stored as a file of its own.
    """

    still: Figure
    frames: list[Frame]
    keep_frames: bool = False

    @property
    def played(self) -> list[Frame]:
        """Return the frames there and back, each turning point once: played in a loop they never jump."""
        return self.frames + self.frames[-2:0:-1]
