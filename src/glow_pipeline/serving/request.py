"""The images of a request: files in base64, or arrays of pixels."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from torch import Tensor

from glow_pipeline.images.decoding import FORMATS, UnreadableImageError, decode
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare

MAX_IMAGES = 256  # of one request
MAX_BYTES = 2**26


class RefusedRequestError(MlflowException):
    """A request that cannot be answered; MLflow's server answers it by HTTP 400 with the message, one line."""

    def __init__(self, line: str) -> None:
        super().__init__(line, error_code=INVALID_PARAMETER_VALUE)
        self._line = line

    def serialize_as_json(self) -> str:
        """Return the body of the answer. MLflow's server puts the complete request before `message`."""
        self.message = self._line
        return super().serialize_as_json()


@dataclass(frozen=True)
class RequestReader:
    """A reader of images in the format of a model.

    Attributes:
        image_format: of the model.
        max_pixels: files of larger images are not decoded.
        max_bytes: of the files of one request together, before base64.
    """

    image_format: ImageFormat
    max_pixels: int
    max_bytes: int = MAX_BYTES

    @property
    def expected(self) -> str:
        """The requirements on an image of a request, in words."""
        channels, height, width = self.image_format.shape
        shapes = [f"{self.image_format.shape}", f"({height}, {width}, {channels})"]
        shapes = [*shapes, f"({height}, {width})"] if channels == 1 else shapes
        return (
            f"expected a file ({', '.join(FORMATS)}) in base64, or its pixels as nested lists of the shape "
            f"{' or '.join(shapes)} with whole numbers from 0 to 255"
        )

    def read(self, images: Sequence[object]) -> Tensor:
        """Read and prepare the images: uint8 (B, C, H, W) below 2**n_bits.

        Files are decoded and prepared as those of a folder are. Arrays have the model's size, and 8 bits.

        Args:
            images: each a file, as base64 or, in Python, as bytes; or an array (C, H, W), (H, W, C), or (H, W) if C is
                1, as nested lists or of numpy.

        Raises:
            RefusedRequestError: there are none or too many, or one cannot be read; the line has its position.
        """
        if not 1 <= len(images) <= MAX_IMAGES:
            raise RefusedRequestError(f"inputs: {len(images):,} images; expected 1 to {MAX_IMAGES} in a request")
        n_bytes = sum(len(image) * 3 // 4 for image in images if isinstance(image, str))
        if n_bytes > self.max_bytes:
            size, most = n_bytes / 2**20, self.max_bytes / 2**20
            raise RefusedRequestError(f"inputs: files of {size:,.0f} MiB; expected at most {most:g} MiB in a request")
        return torch.cat([self._prepared(image, f"inputs[{i}]") for i, image in enumerate(images)])

    def _prepared(self, image: object, name: str) -> Tensor:
        """Return one image, uint8 (1, C, H, W)."""
        try:
            pixels = self._decoded(image) if isinstance(image, str | bytes) else self._from_array(image)
        except UnreadableImageError as problem:
            raise RefusedRequestError(f"{name}: {problem}; {self.expected}") from None
        return prepare(pixels[None], self.image_format)

    def _decoded(self, file: str | bytes) -> Tensor:
        if isinstance(file, str):
            try:
                file = base64.b64decode("".join(file.split()), validate=True)
            except (binascii.Error, ValueError) as problem:
                raise UnreadableImageError(f"not base64 ({problem})") from None
        image_format = self.image_format
        return decode(
            file, grey_range=image_format.range, background=image_format.background, max_pixels=self.max_pixels
        )

    def _from_array(self, image: object) -> Tensor:
        """Return an array as uint8 (C, H, W)."""
        try:
            array = np.asarray(image)
        except (ValueError, OverflowError):  # rows of unequal lengths
            raise UnreadableImageError("rows of different lengths") from None
        if array.dtype.kind not in "iuf" or not array.ndim:
            kinds = {"b": "true and false", "U": "text among numbers"}
            raise UnreadableImageError(kinds.get(array.dtype.kind, f"{type(image).__name__}, not numbers alone"))
        channels, height, width = self.image_format.shape
        if array.shape == (height, width) and channels == 1:
            array = array[None]
        elif array.shape == (height, width, channels) and array.shape != self.image_format.shape:
            array = array.transpose(2, 0, 1)
        if array.shape != self.image_format.shape:
            raise UnreadableImageError(f"shape {array.shape}")
        if not np.isfinite(array).all():
            raise UnreadableImageError("values that are not finite")
        if (array != np.rint(array)).any():
            raise UnreadableImageError("values that are not whole numbers")
        if array.min() < 0 or array.max() > 255:
            raise UnreadableImageError(f"values from {array.min():g} to {array.max():g}")
        return torch.from_numpy(array.astype(np.uint8))
