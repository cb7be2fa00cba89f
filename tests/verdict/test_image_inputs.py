"""Images as a person gives them: Pillow's images are prepared as their files are."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import decode, decode_picture
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.pixels import UnreadableImageError
from glow_pipeline.verdict.image_inputs import ImagesInMemory, given_images, one_given_image, prepared_images
from tests.conftest import random_images
from tests.images.pictures import deep_noise, deep_png

FORMAT = ImageFormat(channels=1, height=8, width=8, n_bits=4, fit="resize")
DEEP = FORMAT.model_copy(update={"range": (0, 4095)})
COLOURS = Image.fromarray(random_images(1, 3, (6, 9))[0].permute(1, 2, 0).numpy())
TURNED = 6  # the EXIF orientation of a picture that is shown turned by 90 degrees


def stored(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def with_alpha(picture: Image.Image, mode: str) -> Image.Image:
    changed = picture.convert(mode)
    changed.putalpha(Image.fromarray(random_images(1, 1, (6, 9), seed=5)[0, 0].numpy()))
    return changed


def exif() -> Image.Exif:
    found = Image.Exif()
    found[274] = TURNED
    return found


FILES = {
    "colour": stored(COLOURS),
    "grey": stored(COLOURS.convert("L")),
    "palette": stored(COLOURS.convert("P")),
    "bits": stored(COLOURS.convert("1")),
    "transparent": stored(with_alpha(COLOURS, "RGB")),
    "transparent grey": stored(with_alpha(COLOURS, "L")),
    "transparent colour": stored(COLOURS, transparency=COLOURS.getpixel((2, 1))),
    "four greys": stored(Image.fromarray(np.eye(4, dtype=np.uint8) * 3).convert("L"), bits=2, transparency=0),
    "inks": stored(COLOURS.convert("CMYK"), "JPEG"),
    "turned": stored(COLOURS, "JPEG", exif=exif()),
    "unused alpha": stored(Image.fromarray(np.dstack([np.asarray(COLOURS), np.zeros((6, 9), np.uint8)])), "TIFF"),
    "deep": stored(Image.fromarray(random_images(1, 1, (6, 9))[0, 0].numpy().astype(np.uint16) * 16)),
}


@pytest.mark.parametrize("name", FILES)
def test_picture_is_decoded_as_its_file(name: str) -> None:
    expected, expected_findings = Findings(), Findings()
    of_file = decode(FILES[name], grey_range=DEEP.range, findings=expected_findings)
    with Image.open(io.BytesIO(FILES[name])) as picture:
        lazy = decode_picture(picture, DEEP, expected).image
        size = picture.size
        again = decode_picture(picture, DEEP).image  # loaded by now
        assert picture.size == size  # not turned
    assert torch.equal(lazy, of_file)
    assert expected == expected_findings
    if name != "four greys":  # whose transparent level Pillow forgets to scale once they are loaded
        assert torch.equal(again, of_file)


def test_picture_without_a_file_is_decoded() -> None:
    assert torch.equal(decode_picture(COLOURS, FORMAT).image.permute(1, 2, 0), torch.tensor(np.asarray(COLOURS)))


def test_deep_pictures_need_a_range_and_numbers() -> None:
    for mode in ("I", "F", "I;16"):
        with pytest.raises(UnreadableImageError, match=rf"^more than 8 bits \(mode {mode}\), and the model"):
            decode_picture(Image.new(mode, (3, 3)), FORMAT)
    with pytest.raises(UnreadableImageError, match="infinite or not a number"):
        decode_picture(Image.fromarray(np.full((3, 3), np.nan, np.float32)), DEEP)


def test_colours_of_16_bits_are_refused() -> None:
    with (
        Image.open(io.BytesIO(deep_png(deep_noise(3, 4, 3)))) as picture,
        pytest.raises(
            UnreadableImageError, match=r"^colours of 16 bits, of which Pillow keeps 8 in memory; give the f"
        ),
    ):
        decode_picture(picture, DEEP)


def test_damaged_and_empty_pictures_are_refused() -> None:
    content = FILES["colour"][:-30]
    picture = Image.open(io.BytesIO(content))
    with pytest.raises(GlowPipelineError, match=r"^images: image 1 cannot be used: damaged \("):
        list(prepared_images(given_images([COLOURS, picture], 1), FORMAT))
    with pytest.raises(GlowPipelineError, match=r"^images: image 0 cannot be used: "):
        list(prepared_images(given_images(Image.new("RGB", (0, 3)), 1), FORMAT))


def test_images_keep_their_order_over_batches() -> None:
    arrays = [np.full((8 + i % 2, 8), i, np.uint8) for i in range(130)]
    chunks = list(prepared_images(given_images(arrays, 1), FORMAT))
    assert [len(chunk.images) for chunk in chunks] == [64, 64, 2]
    assert np.array_equal(np.concatenate([chunk.rows for chunk in chunks]), np.arange(130))
    assert torch.equal(torch.cat([chunk.images for chunk in chunks])[:, 0, 0, 0], torch.arange(130).byte() >> 4)


def test_one_image_may_be_a_list_of_one(tmp_path: Path) -> None:
    COLOURS.save(tmp_path / "a.png")
    array = np.asarray(COLOURS)
    for image in (COLOURS, [COLOURS], array, [array], tmp_path / "a.png", str(tmp_path / "a.png")):
        (prepared,) = prepared_images(one_given_image(image, 3), FORMAT)  # type: ignore[arg-type]
        assert len(prepared.images) == 1


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (None, r"^images: NoneType; give a folder"),
        (3, r"^images: int; give a folder"),
        ({"a.png"}, r"^images: set; give a folder"),
        ([], r"^images: an empty list; give a folder"),
        ("absent", r"^images=absent: no such file or folder; give a folder, a file or a pattern$"),
        ([None], r"^images: a list with NoneType; give a folder"),
        (b"a.png", r"^images: a list with int; give a folder"),
        (["a.png", COLOURS], r"^images: a list of files and Pillow's images; give a list of one of these$"),
        ([np.zeros((2, 2), np.uint8), COLOURS], r"^images: a list of arrays and Pillow's images; give"),
        ([np.zeros((2, 2), np.uint8), np.zeros((2, 2))], r"^images\[1\], of a list with one image each: images: an ar"),
        ([np.zeros((1, 2, 2, 3), np.uint8)], r"^images\[0\], .*; expected one image, uint8 of shape"),
    ],
)
def test_other_things_are_refused_in_one_line(images: Any, expected: str) -> None:
    with pytest.raises(GlowPipelineError, match=expected) as refused:
        given_images(images, 3)
    assert "\n" not in str(refused.value)


def test_array_rows_are_its_images() -> None:
    array = random_images(3).numpy()
    given = given_images(array, 1)
    assert isinstance(given, ImagesInMemory)
    assert given.shown == ["image 0", "image 1", "image 2"]
