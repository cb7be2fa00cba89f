"""Images as arrays: their type is checked, and which axis is what."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError

CHANNELS = (1, 3)
EXPECTED = "expected uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 or 3, with values 0 to 255"
ONE = "expected one image, uint8 of shape (H, W), (H, W, C) or (C, H, W), C = 1 or 3"


def images_of_array(array: NDArray[np.uint8] | Tensor, channels: int) -> Tensor:
    """Return an array of images as uint8 (N, C, h, w).

    Args:
        array: uint8 (N, H, W), grey; or (N, H, W, C) or (N, C, H, W) with C = 1 or 3. Values are 0 to 255. (H, W) is
            one grey image.
        channels: of the model, which decide whether (3, H, W) may be one colour image.

    Raises:
        GlowPipelineError: another type or shape, or the shape has two meanings.
    """
    if isinstance(array, Tensor):  # numpy has no bfloat16
        array = (array.float() if array.is_floating_point() else array).detach().cpu().numpy()
    images = np.asarray(array)
    shape = images.shape
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise GlowPipelineError(
            f"images: an array of {images.dtype} with values that are not numbers or infinite; {EXPECTED}"
        )
    if images.dtype != np.uint8:
        raise GlowPipelineError(
            f"images: an array of {images.dtype}; {EXPECTED}: of floats from 0 to 1 give (255 * images).round()"
            f".astype('uint8')"
        )
    if 0 in shape or not shape:
        raise GlowPipelineError(f"images: an array of shape {shape} has no pixel; {EXPECTED}")
    if images.ndim == 3 and (shape[2] in CHANNELS or (shape[0] == 3 and channels == 3)):
        raise GlowPipelineError(
            f"images: shape {shape} may be one colour image or several grey ones; give images[None] for one, "
            f"images[:, None] for grey ones"
        )
    if images.ndim == 2:
        images = images[None, None]
    elif images.ndim == 3:
        images = images[:, None]
    elif images.ndim != 4:
        raise GlowPipelineError(f"images: an array of shape {shape}; {EXPECTED}")
    elif shape[1] in CHANNELS and shape[3] in CHANNELS:
        raise GlowPipelineError(
            f"images: shape {shape} may have its channels first or last; make it larger, or give (N, H, W)"
        )
    elif shape[3] in CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    elif shape[1] not in CHANNELS:
        raise GlowPipelineError(f"images: an array of shape {shape}; {EXPECTED}")
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


def one_image(array: NDArray[np.uint8] | Tensor, channels: int) -> Tensor:
    """Return one image, an array of (H, W), (H, W, C) or (C, H, W), as uint8 (1, C, h, w).

    Raises:
        GlowPipelineError: as `images_of_array`, or it has other than two or three axes.
    """
    if array.ndim not in (2, 3):
        raise GlowPipelineError(f"images: an array of shape {tuple(array.shape)}; {ONE}")
    return images_of_array(array[None], channels)
