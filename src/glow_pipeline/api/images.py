"""Images that a model draws: pictures to look at, and an array to compute with."""

import io
import math
from collections.abc import Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

SHEET_SIDE, MOST_SHOWN = 512, 400  # pixels of a sheet's longer side, at least; images on it
GAP, GREY = 1, 128  # between the images of a sheet: pixels of an image, and their grey level


class Images(Sequence[Image.Image]):
    """8-bit images of one size: `images[0]` is a picture of Pillow, a notebook shows a sheet.

    `images[:4]` and `images[~images.broken]`, a slice, a mask or an array of positions, are images again.

    Attributes:
        array: uint8 (n, H, W) of grey images, (n, H, W, 3) of coloured ones.
        broken: bool (n,), true where the flow's inverse overflowed: such an image is black and means nothing.
    """

    def __init__(self, array: NDArray[np.uint8], broken: NDArray[np.bool_] | None = None) -> None:
        self.array = array
        self.broken = np.zeros(len(array), dtype=np.bool_) if broken is None else broken

    def __repr__(self) -> str:
        n, height, width = self.array.shape[:3]
        broken = f", {int(self.broken.sum())} broken" if self.broken.any() else ""
        return f"Images({n} of {width}x{height}, {'grey' if self.array.ndim == 3 else 'colour'}{broken})"

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any]) -> Self: ...

    def __getitem__(self, index: int | slice | NDArray[Any]) -> Image.Image | Self:
        if isinstance(index, slice | np.ndarray):
            return type(self)(self.array[index], self.broken[index])
        return Image.fromarray(self.array[index])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def sheet(self) -> Image.Image:
        """Return one picture with all images in about as many columns as rows; of more than 400 the first 400."""
        shown = self.array[:MOST_SHOWN]
        n, height, width = shown.shape[:3]
        columns = max(1, math.ceil(math.sqrt(n)))
        rows = max(1, math.ceil(n / columns))
        size = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, *shown.shape[3:])
        sheet = np.full(size, GREY, dtype=np.uint8)
        for i, image in enumerate(shown):
            y, x = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
            sheet[y : y + height, x : x + width] = image
        factor = max(1, math.ceil(SHEET_SIDE / max(sheet.shape[:2])))
        return Image.fromarray(sheet.repeat(factor, axis=0).repeat(factor, axis=1))

    def _repr_png_(self) -> bytes:
        """Return the picture that a notebook shows."""
        file = io.BytesIO()
        self.sheet().save(file, "PNG")
        return file.getvalue()
