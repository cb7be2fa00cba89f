"""Heat maps of images: the surprising pixels in colour, all others dark."""

import matplotlib
import numpy as np
from numpy.typing import NDArray

COLOURS, DARKEST = "inferno", 0.4  # even in lightness, also for the colour-blind; its dark part is left out
DIM = 0.2  # brightness of the image under the colours
LEGEND_WIDTH, LEGEND_HEIGHT = 256, 8  # pixels


def surprise_pixels(brightness: NDArray[np.floating], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour the surprising pixels of an image, and darken all others, uint8 (3, H, W).

    The colours are the same for all images, dark red over orange to pale yellow.

    Args:
        brightness: (H, W) in [0, 1]; 0 is not surprising and has no colour.
        image: the image, uint8 (C, H, W), 8 bits.
    """
    dimmed = DIM * image.mean(axis=0, keepdims=True)
    return np.rint(np.where(brightness > 0, 255 * _colours(brightness), dimmed)).astype(np.uint8)


def surprise_legend() -> NDArray[np.uint8]:
    """Return the colours of brightness 0 to 1, from left to right, uint8 (3, LEGEND_HEIGHT, LEGEND_WIDTH)."""
    return np.rint(255 * _colours(np.tile(np.linspace(0, 1, LEGEND_WIDTH), (LEGEND_HEIGHT, 1)))).astype(np.uint8)


def _colours(brightness: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the colours of surprising pixels, (3, H, W) in [0, 1]."""
    found: NDArray[np.floating] = matplotlib.colormaps[COLOURS](DARKEST + (1 - DARKEST) * brightness)
    return found[..., :3].transpose(2, 0, 1)
