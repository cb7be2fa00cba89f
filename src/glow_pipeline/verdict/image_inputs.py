"""Images as a person gives them in Python: files, arrays, or pictures of Pillow, one or many."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import MAX_PIXELS, DecodedFile, UnreadableImageError, decode_picture
from glow_pipeline.images.decoding_workers import Prepared, decode_and_prepare
from glow_pipeline.images.file_formats import ARRAY, FileFormat
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.pixels import GREY_MODES
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.sources.names import Names
from glow_pipeline.verdict.arrays import images_of_array, one_image
from glow_pipeline.verdict.listing import ListedFiles, list_files
from glow_pipeline.verdict.scored_files import ByPosition

File = str | os.PathLike[str]
Array = NDArray[np.uint8] | Tensor
OneImage = File | Array | Image.Image
ImageInput = OneImage | Sequence[OneImage]

logger = logging.getLogger(__name__)

SHAPES_LOGGED = 3
AT_ONCE = 64  # images that are prepared together
GIVE = (
    "give a folder, a file or a pattern, a list of files, one array of all images, a list of arrays of one image each, "
    "or one or more of Pillow's images"
)


@dataclass(frozen=True)
class ImagesInMemory:
    """Arrays of one image each, or pictures of Pillow.

    Attributes:
        items: uint8 (C, h, w) tensors with C = 1 or 3, or pictures.
        shown: the name of each in messages and tables.
    """

    items: Sequence[Tensor | Image.Image]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def shown(self) -> list[str]:
        return [f"image {i}" for i in range(len(self.items))]

    def prepared(self, image_format: ImageFormat) -> Iterator[Prepared]:
        """Yield the images in a format, in their order.

        Raises:
            GlowPipelineError: one is damaged, empty, or deeper than 8 bits while the format has no range.
        """
        for start in range(0, len(self), AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, len(self)))
            findings = [Findings() for _ in rows]
            decoded = [self._decoded(int(row), image_format, found) for row, found in zip(rows, findings, strict=True)]
            together = Findings()
            for found in findings:
                together.add(found)
            yield Prepared(
                rows,
                _prepared([image for image, _ in decoded], image_format),
                {},
                together,
                [file_format for _, file_format in decoded],
                findings,
            )

    def _decoded(self, row: int, image_format: ImageFormat, findings: Findings) -> DecodedFile:
        item = self.items[row]
        if isinstance(item, Tensor):
            channels, height, width = item.shape
            return DecodedFile(item, FileFormat(ARRAY, width, height, "grey" if channels == 1 else "colour"))
        try:
            return decode_picture(item, image_format, findings)
        except UnreadableImageError as problem:
            raise GlowPipelineError(f"images: image {row} cannot be used: {problem}") from None


Given = ListedFiles | ImagesInMemory


def given_images(images: ImageInput, channels: int) -> Given:
    """Return the images that a person gives, files still unread.

    Args:
        images: a folder, a file or a pattern; a list of files; an array, uint8 of shape (H, W), (N, H, W), (N, H, W, C)
            or (N, C, H, W), C = 1 or 3; a list of arrays (H, W), (H, W, C) or (C, H, W) whose sizes may differ; or one
            or more of Pillow's images.
        channels: of the model, which decide whether (3, H, W) may be one colour image.

    Raises:
        GlowPipelineError: something else, a list of several of these, or nothing.
    """
    if isinstance(images, str | os.PathLike):
        try:
            return list_files(os.fspath(images))
        except GlowPipelineError as problem:  # of the pipeline's parameter `score.images`
            raise GlowPipelineError(str(problem).removeprefix("score.")) from None
    if isinstance(images, Image.Image):
        return ImagesInMemory([images])
    if isinstance(images, np.ndarray | Tensor):
        return ImagesInMemory(list(images_of_array(images, channels)))
    if not isinstance(images, Sequence):
        raise GlowPipelineError(f"images: {type(images).__name__}; {GIVE}")
    if not len(images):
        raise GlowPipelineError(f"images: an empty list; {GIVE}")
    kinds = {_kind(image): type(image).__name__ for image in images}
    if None in kinds:
        raise GlowPipelineError(f"images: a list with {kinds[None]}; {GIVE}")
    if len(kinds) > 1:
        raise GlowPipelineError(f"images: a list of {' and '.join(map(str, kinds))}; give a list of one of these")
    if "files" in kinds:
        return _listed([os.fspath(image) for image in images])  # type: ignore[arg-type]  # as `_kind` has found
    if "arrays" in kinds:
        return ImagesInMemory([_of_list(row, image, channels) for row, image in enumerate(images)])  # type: ignore[arg-type]
    return ImagesInMemory(list(images))  # type: ignore[arg-type]


def one_given_image(image: OneImage, channels: int) -> Given:
    """Return the one image that a person gives; an array is (H, W), (H, W, C) or (C, H, W).

    Raises:
        GlowPipelineError: as `given_images`, or it is a list or a folder of several.
    """
    in_list = [image] if isinstance(image, str | os.PathLike | np.ndarray | Tensor) else image
    given = given_images(in_list, channels)
    if len(given) != 1:
        raise GlowPipelineError(f"images: {len(given)} images; give one")
    return given


def prepared_images(given: Given, image_format: ImageFormat) -> Iterator[Prepared]:
    """Yield given images in a format, in their order; files that cannot be read are among `unreadable` by position.

    Raises:
        GlowPipelineError: an image in memory cannot be used.
    """
    if isinstance(given, ImagesInMemory):
        yield from given.prepared(image_format)
    else:
        reader = ByPosition(given.reader, MAX_PIXELS)
        yield from decode_and_prepare(reader, np.arange(len(given)), image_format, num_workers=0)


def log_reshaped(given: ImagesInMemory, image_format: ImageFormat) -> None:
    """Log which sizes and colours of images in memory were changed in their preparation."""
    shapes = {_shape(item) for item in given.items} - {image_format.shape}
    for shape in sorted(shapes)[:SHAPES_LOGGED]:
        logger.info("Images of shape %s are prepared as files are: %s", shape, image_format.key)
    if len(shapes) > SHAPES_LOGGED:
        logger.info("Images of %d more shapes are prepared so.", len(shapes) - SHAPES_LOGGED)


def log_findings(findings: Findings, image_format: ImageFormat) -> None:
    """Log how images were reinterpreted."""
    for note in findings.notes(image_format):
        logger.info("%s", note)
    for warning in findings.warnings(image_format):
        logger.warning("%s", warning)


def _shape(item: Tensor | Image.Image) -> tuple[int, ...]:
    """Return (C, h, w); of a picture before it is turned upright."""
    if isinstance(item, Tensor):
        return tuple(item.shape)
    return 1 if item.mode in GREY_MODES or item.mode[0] in "IF" else 3, item.height, item.width


def _kind(image: object) -> str | None:
    if isinstance(image, str | os.PathLike):
        return "files"
    if isinstance(image, np.ndarray | Tensor):
        return "arrays"
    return "Pillow's images" if isinstance(image, Image.Image) else None


def _listed(images: Sequence[str]) -> ListedFiles:
    # Absolute names, which may be in any folder.
    paths = [os.path.abspath(os.path.expanduser(image)) for image in images]  # noqa: PTH100, PTH111
    return ListedFiles(Path(os.path.commonpath([os.path.dirname(path) for path in paths])), Names(paths))  # noqa: PTH120


def _of_list(row: int, image: Array, channels: int) -> Tensor:
    try:
        return one_image(image, channels)[0]
    except GlowPipelineError as problem:
        raise GlowPipelineError(f"images[{row}], of a list with one image each: {problem}") from None


def _prepared(images: Sequence[Tensor], image_format: ImageFormat) -> Tensor:
    """Return images in a format; those of one shape together, which is faster."""
    if len({image.shape for image in images}) == 1:
        return prepare(torch.stack(list(images)), image_format)
    return torch.cat([prepare(image[None], image_format) for image in images])
