"""Conversion of stored pixels to shown pixels: 8 bits, nothing transparent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import Background, GreyRange
from glow_pipeline.images.pixels import Pixels, UnreadableImageError

LEVELS = {"black": 0, "white": 255}
BLOCK_VALUES = 2**22  # converted to 8 bits at once; each takes eight bytes meanwhile


def render(
    pixels: Pixels, grey_range: GreyRange | None, background: Background, findings: Findings
) -> NDArray[np.uint8]:
    """Convert an image to 8 bits, and put transparent pixels on the background.

    A deep image's value v becomes (v - low) / (high - low) * 255, rounded and clipped; a pixel of opacity a becomes
    a * pixel + (1 - a) * background, rounded.

    Args:
        findings: counts to which this image is added.

    Returns:
        uint8 (h, w, 1 or 3).

    Raises:
        UnreadableImageError: the image is deep, and there is no range.
    """
    values, alpha = pixels.values, pixels.alpha
    if pixels.deep:
        if grey_range is None:
            raise UnreadableImageError("more than 8 bits, and no range of grey values; set ingest.range")
        _note_use(values, grey_range, findings)
    elif alpha is None:
        return values
    findings.transparent += alpha is not None
    shown = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, BLOCK_VALUES // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        block = slice(start, start + rows)
        levels = values[block].astype(np.float64)
        if pixels.deep:
            levels = _scaled(levels, grey_range or (0, 255), pixels.inverted)
        if alpha is not None:
            opacity = alpha[block] / np.float64(np.iinfo(alpha.dtype).max)
            levels = levels * opacity + LEVELS[background] * (1 - opacity)
        shown[block] = np.rint(levels)
    return shown


def _scaled(values: NDArray[np.float64], grey_range: GreyRange, inverted: bool) -> NDArray[np.float64]:
    low, high = grey_range
    scaled = ((values - low) / (high - low) * 255).clip(0, 255)
    return 255 - scaled if inverted else scaled


def _note_use(values: NDArray[Any], grey_range: GreyRange, findings: Findings) -> None:
    low, high = grey_range
    clipped = int(np.count_nonzero((values < low) | (values > high)))
    lowest, highest = float(values.min()), float(values.max())
    findings.add(Findings(deep=1, deep_values=values.size, clipped=clipped, lowest=lowest, highest=highest))
