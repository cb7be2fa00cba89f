"""Changes of images that make outliers of them, with fixed parameters.

A changed image is as near to the training images as an outlier can be: same objects, same preparation. `constant` and
`noise` keep nothing of the image but its shape; they are controls.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from glow_pipeline.registry import Registry

TILES = 4  # on a side
BITS = 3  # of each channel that quantisation leaves


@dataclass(frozen=True)
class ImageChange:
    """A change of an image.

    Attributes:
        name: as it is typed (`benchmark.out_datasets=blur`).
        summary: the change with its parameters, in a few words.
        apply: takes an image, grey or RGB of 8 bits, and random numbers; returns one of the same size and mode.
        is_control: whether nothing of the image is left.
    """

    name: str
    summary: str
    apply: Callable[[Image.Image, np.random.Generator], Image.Image]
    is_control: bool = False


def _as_jpeg(image: Image.Image, _random: np.random.Generator) -> Image.Image:
    content = BytesIO()
    image.save(content, "JPEG", quality=30)
    with Image.open(content) as compressed:
        return compressed.copy()


def _with_patch(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Cover a random square, of a quarter of the shorter side, with one random grey level."""
    side = max(1, min(image.size) // 4)
    left, top = (int(random.integers(length - side + 1)) for length in image.size)
    level = int(random.integers(256))
    patched = image.copy()
    patched.paste(level if image.mode == "L" else (level,) * 3, (left, top, left + side, top + side))
    return patched


def _shuffled(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Cut the image into tiles and put them together in a random order; a rest at the right or below stays."""
    width, height = (length // TILES for length in image.size)
    corners = [(column * width, row * height) for row in range(TILES) for column in range(TILES)]
    shuffled = image.copy()
    for (left, top), corner in zip(corners, random.permutation(corners).tolist(), strict=True):
        shuffled.paste(image.crop((left, top, left + width, top + height)), (corner[0], corner[1]))
    return shuffled


def _noisy(image: Image.Image, random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image)
    return _image(np.rint(pixels + random.normal(0, 10, pixels.shape)).clip(0, 255))


def _pixelated(image: Image.Image, _random: np.random.Generator) -> Image.Image:
    small = (max(1, image.width // 2), max(1, image.height // 2))
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def _constant(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return _image(np.full(np.asarray(image).shape, random.integers(256)))


def _noise(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return _image(random.integers(256, size=np.asarray(image).shape))


def _image(pixels: NDArray[np.floating] | NDArray[np.integer]) -> Image.Image:
    return Image.fromarray(pixels.astype(np.uint8))


CHANGES = Registry(
    "image change",
    [
        ImageChange("blur", "Gaussian blur of radius 1", lambda image, _: image.filter(ImageFilter.GaussianBlur(1))),
        ImageChange("low_contrast", "contrast halved", lambda image, _: ImageEnhance.Contrast(image).enhance(0.5)),
        ImageChange("high_contrast", "contrast times 1.5", lambda image, _: ImageEnhance.Contrast(image).enhance(1.5)),
        ImageChange("inverted", "black becomes white", lambda image, _: ImageOps.invert(image)),
        ImageChange("rotated_90", "turned left by 90 degrees", lambda image, _: image.rotate(90)),
        ImageChange("rotated_180", "turned by 180 degrees", lambda image, _: image.rotate(180)),
        ImageChange("mirrored", "left becomes right", lambda image, _: ImageOps.mirror(image)),
        ImageChange("patch", "a square of one grey level, a quarter of the side, somewhere", _with_patch),
        ImageChange("shuffled", f"{TILES} x {TILES} tiles in random order", _shuffled),
        ImageChange("jpeg", "JPEG compression of quality 30", _as_jpeg),
        ImageChange("gaussian_noise", "noise of standard deviation 10 of 255", _noisy),
        ImageChange("quantised", f"{BITS} bits a channel", lambda image, _: ImageOps.posterize(image, BITS)),
        ImageChange("pixelated", "half the resolution", _pixelated),
        ImageChange("constant", "one random grey level for all pixels", _constant, is_control=True),
        ImageChange("noise", "uniform noise, each pixel by itself", _noise, is_control=True),
    ],
)
