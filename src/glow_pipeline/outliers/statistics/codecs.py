"""Compressed size of images: the smallest of several lossless codecs.

The number of bits depends on the versions of the codecs, so a fitted score is only valid with those that it was fitted
with (`codec_versions`).
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.flow.float64 import float64_device
from glow_pipeline.images.transfer import HostCopy, to_device
from glow_pipeline.threads import usable_cores

JXL_MODULE, JXL_PACKAGE = "pillow_jxl", "pillow-jxl-plugin"  # the optional extra `jxl`
CODECS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "optimize": True},
    "webp": {"format": "WEBP", "lossless": True, "quality": 50, "method": 2},
    "jxl": {"format": "JXL", "lossless": True, "effort": 7, "num_threads": 1},
}


def codec_versions() -> dict[str, str]:
    """Return the codecs that are available, in the order of `CODECS`, and the versions of their libraries."""
    versions = {"png": f"pillow {version('pillow')}, {_zlib_version()}"}
    if features.check("webp"):
        versions["webp"] = f"pillow {version('pillow')}, libwebp {features.version('webp')}"
    if find_spec(JXL_MODULE) is not None:
        versions["jxl"] = f"{JXL_PACKAGE} {version(JXL_PACKAGE)}"
    return versions


def host_copy(batch: ModelledBatch) -> HostCopy:
    """Return a copy of the images that is under way to the host, where they are compressed."""
    return HostCopy(batch.images)


def compressed_bits(batch: ModelledBatch) -> Tensor:
    """Return the size of each image in bits, by the codec that makes it smallest: float64 (B,).

    Images of fewer than 8 bits are compressed as they are displayed, expanded to 8 bits.
    """
    (images,) = batch.once_for_images(host_copy).get()
    bits = torch.from_numpy(smallest_sizes(batch.model.dequantization.expand(images).numpy())) * 8
    return to_device(bits, float64_device(batch.images.device))  # float64, as `exact` has it


def compressed_bits_per_dim(batch: ModelledBatch) -> Tensor:
    """Return `compressed_bits` divided by the number of values of the image, C H W."""
    return batch.once_for_images(compressed_bits) / batch.images[0].numel()


def smallest_sizes(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compress 8-bit images (n, C, H, W) on all cores and return the smallest size of each in bytes, (n,)."""
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        parts = list(pool.map(_smallest_sizes, np.array_split(images, min(cores, len(images)))))
    return np.array([size for part in parts for size in part], dtype=np.float64)


def _smallest_sizes(images: Sequence[NDArray[np.uint8]]) -> list[int]:
    return [min(_size(picture, options) for options in _options()) for picture in map(_picture, images)]


def _size(picture: Image.Image, options: dict[str, Any]) -> int:
    file = io.BytesIO()
    picture.save(file, **options)
    return file.tell()


def _picture(image: NDArray[np.uint8]) -> Image.Image:
    """Return an image (C, H, W) in colour if it has three channels, otherwise its channels one below the other."""
    if len(image) == 3:
        return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return Image.fromarray(np.ascontiguousarray(image.reshape(-1, image.shape[-1])))


@cache
def _options() -> list[dict[str, Any]]:
    """Return how to save an image by each available codec."""
    available = codec_versions()
    if "jxl" in available:
        import_module(JXL_MODULE)  # registers the format with Pillow
    return [CODECS[name] for name in available]


def _zlib_version() -> str:
    if features.check_feature("zlib_ng"):
        return f"zlib-ng {features.version('zlib_ng')}"
    return f"zlib {features.version('zlib')}"
