"""Images that a report shows."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.verdict.judge import Explanation


class ShownImage(NamedTuple):
    """An image of the table of scored files, as the model sees it, with its explanation."""

    row: int  # position in the table
    image: NDArray[np.uint8]  # (C, H, W), as prepared, below 2**n_bits
    explanation: Explanation | None  # None: no heat maps are requested
