import io

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.images.decoding import decode, decode_file
from glow_pipeline.images.file_formats import SIZES_AT_MOST, FileFormat, FileFormats
from tests.images.pictures import encoded

GREY, COLOURS = np.zeros((3, 5), dtype=np.uint8), np.zeros((3, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(GREY, "PNG"), FileFormat("PNG", 5, 3, "grey")),
        (encoded(COLOURS, "JPEG"), FileFormat("JPEG", 5, 3, "colour")),
        (encoded(Image.fromarray(GREY).convert("P"), "GIF"), FileFormat("GIF", 5, 3, "colour")),
        (encoded(Image.fromarray(COLOURS), "MPO", save_all=True), FileFormat("JPEG", 5, 3, "colour")),
    ],
    ids=lambda value: value.kind if isinstance(value, FileFormat) else "",
)
def test_decoded_file_has_its_stored_format(content: bytes, expected: FileFormat) -> None:
    image, file_format = decode_file(content)
    assert file_format == expected
    assert image.equal(decode(content))


def test_size_is_that_of_the_upright_picture() -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 6
    Image.fromarray(GREY).save(file, "JPEG", exif=exif)
    assert decode_file(file.getvalue()).file_format.size == "3x5"


def test_formats_are_counted() -> None:
    formats = FileFormats()
    for kind, width, colours in (("PNG", 5, "grey"), ("PNG", 9, "colour"), ("JPEG", 5, "grey")):
        formats.add(FileFormat(kind, width, 4, "grey" if colours == "grey" else "colour"))
    assert formats == FileFormats(
        count=3,
        kinds={"PNG": 2, "JPEG": 1},
        colours={"grey": 2, "colour": 1},
        sizes={"5x4": 2, "9x4": 1},
        widths=(5, 9),
        heights=(4, 4),
    )
    assert formats.has_size(FileFormat("BMP", 9, 4, "grey"))
    assert not formats.has_size(FileFormat("PNG", 7, 4, "grey"))


def test_of_many_sizes_only_the_range_counts() -> None:
    formats = FileFormats()
    for width in range(1, 2 * SIZES_AT_MOST):
        formats.add(FileFormat("PNG", width, 8, "grey"))
    assert len(formats.sizes) == SIZES_AT_MOST
    assert formats.has_size(FileFormat("PNG", 2 * SIZES_AT_MOST - 1, 8, "grey"))
    assert not formats.has_size(FileFormat("PNG", 2 * SIZES_AT_MOST, 8, "grey"))
    assert not formats.has_size(FileFormat("PNG", 9, 9, "grey"))
