"""Pictures within the report's file."""

import base64
import io

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.outliers.heat_maps.scale import brightness
from glow_pipeline.plots.surprise import surprise_pixels
from glow_pipeline.verdict.judge import Explanation
from glow_pipeline.verdict.shown import ShownImage

WHITE, GAP = 255, 6  # of pixels between an image and its heat map
SHOWN_WIDTH = 144  # pixels, about
FIGURE_DPI = 160  # sharp on paper at the width of the page


def eight_bits(image: NDArray[np.uint8], n_bits: int) -> NDArray[np.uint8]:
    """Return images as prepared, uint8 below 2**n_bits of any shape, with 8 bits."""
    expanded: NDArray[np.uint8] = Dequantization(n_bits).expand(torch.from_numpy(image)).numpy()
    return expanded


def png_of(image: NDArray[np.uint8]) -> bytes:
    """Return the PNG of an 8-bit image (1 or 3, H, W)."""
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def heat_map_of(image: NDArray[np.uint8], explanation: Explanation) -> NDArray[np.uint8]:
    """Return the heat map of an 8-bit image (C, H, W), uint8 (3, H, W)."""
    return surprise_pixels(brightness(explanation.surprise), image)


def magnification(width: int) -> int:
    """Return by how much images of this width are enlarged to be seen."""
    return max(1, round(SHOWN_WIDTH / width))


def enlarged(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return an image (C, H, W) with a square of `factor` pixels a side for each pixel."""
    return image.repeat(factor, axis=1).repeat(factor, axis=2)


def beside_its_heat_map(shown: ShownImage, n_bits: int) -> NDArray[np.uint8]:
    """Return an image and, right of it, its heat map, enlarged, uint8 (3, h, w) of 8 bits.

    The image alone where it has no heat map.
    """
    image = eight_bits(shown.image, n_bits)
    pictures = [np.broadcast_to(image, (3, *image.shape[1:]))]
    if shown.explanation is not None:
        pictures.append(heat_map_of(image, shown.explanation))
    first, *others = [enlarged(picture, magnification(image.shape[2])) for picture in pictures]
    gap = np.full((3, first.shape[1], GAP), WHITE, dtype=np.uint8)
    return np.concatenate([first, *(part for other in others for part in (gap, other))], axis=2)


def inlined(png: bytes) -> str:
    """Return the address of a picture that is within the page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def inlined_figure(figure: Figure) -> str:
    """Return the address of a figure that is within the page; equal figures have equal ones."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=FIGURE_DPI, metadata={"Software": None})
    return inlined(file.getvalue())
