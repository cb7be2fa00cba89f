"""Decoding of each kind of image file."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, features

from glow_pipeline.images.decoding import decode
from glow_pipeline.images.findings import Findings
from tests.images.pictures import SIZE, Pixels, decoded, encoded, noise, smooth


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_black_and_white_is_grey(kind: str) -> None:
    bits = noise(*SIZE) > 127
    assert np.array_equal(decoded(encoded(Image.fromarray(bits), kind)), np.where(bits, 255, 0)[None])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_grey_has_one_channel(kind: str) -> None:
    grey = noise(*SIZE)
    assert np.array_equal(decoded(encoded(grey, kind)), grey[None])


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_grey_stored_as_colours_keeps_its_levels(kind: str) -> None:
    grey = noise(*SIZE)
    levels = decoded(encoded(grey, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(levels, np.broadcast_to(grey, levels.shape))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("PNG", {"optimize": True, "compress_level": 9}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "packbits"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
    ],
)
def test_colours_have_three_channels_red_first(kind: str, options: dict[str, object]) -> None:
    colours = noise(*SIZE, 3)
    assert np.array_equal(decoded(encoded(colours, kind, **options)), colours.transpose(2, 0, 1))


def paletted() -> tuple[Image.Image, Pixels]:
    """A picture with a palette, and its colours."""
    indices, palette = noise(*SIZE) % 16, noise(16, 3, seed=1)
    image = Image.frombytes("P", (SIZE[1], SIZE[0]), indices.tobytes())
    image.putpalette(palette.tobytes())
    return image, palette[indices]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_a_palette_becomes_its_colours(kind: str) -> None:
    image, colours = paletted()
    assert np.array_equal(decoded(encoded(image, kind)), colours.transpose(2, 0, 1))


def test_cmyk_becomes_colours() -> None:
    inks = noise(*SIZE, 4)
    cyan_magenta_yellow, black = 255.0 - inks[:, :, :3], 255.0 - inks[:, :, 3:]
    colours = decoded(encoded(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert np.abs(colours - (cyan_magenta_yellow * black / 255).transpose(2, 0, 1)).max() <= 1


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    """Adobe stores the inks inverted in JPEG, and says so in a marker."""
    colours = smooth(3)
    inks = np.concatenate([255 - colours, np.zeros_like(colours[:, :, :1])], axis=2)
    content = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    assert np.abs(decoded(content) - colours.transpose(2, 0, 1)).mean() < 4


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("YCbCr", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 2}), ("L", {})],
)
def test_jpeg_is_decoded_as_by_pillow(mode: str, options: dict[str, object]) -> None:
    picture = Image.fromarray(smooth(3)).convert("L" if mode == "L" else "RGB")
    content = encoded(picture.convert(mode), "JPEG", quality=90, **options)
    image = decoded(content)
    pillow = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(image, pillow.reshape(48, 64, -1).transpose(2, 0, 1))
    assert np.abs(image - np.asarray(picture).reshape(48, 64, -1).transpose(2, 0, 1)).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_of_several_pictures_is_used(kind: str) -> None:
    pictures = [Image.fromarray(np.full((*SIZE, 3), value, dtype=np.uint8)) for value in (40, 120, 200)]
    content = encoded(
        pictures[0], kind, save_all=True, append_images=pictures[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert Image.open(io.BytesIO(content)).n_frames == 3  # type: ignore[attr-defined]  # some kinds have it
    findings = Findings()
    image = decode(content, findings=findings)
    assert image.shape == (3, *SIZE)
    assert image.unique().tolist() == [40]
    decode(encoded(pictures[0], kind), findings=findings)
    assert findings == Findings(paged=1, further_pages=2)


def test_a_jpeg_of_several_pictures_is_its_first() -> None:
    """MPO, as some telephones write it under the name .jpg."""
    pictures = [Image.fromarray(smooth(3)), Image.fromarray(255 - smooth(3))]
    findings = Findings()
    image = decode(encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:]), findings=findings)
    assert np.abs(image.numpy().transpose(1, 2, 0).astype(int) - smooth(3)).mean() < 3
    assert findings == Findings(paged=1, further_pages=1)


def test_damaged_further_page_is_ignored() -> None:
    pages = [Image.fromarray(noise(*SIZE, seed=seed)) for seed in range(2)]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert np.array_equal(decoded(content[:-60]), noise(*SIZE)[None])


@pytest.mark.parametrize(("kind", "feature"), [("JPEG2000", "jpg_2000"), ("AVIF", "avif")])
@pytest.mark.parametrize("channels", [1, 3])
def test_modern_kinds_are_read_where_pillow_has_them(kind: str, feature: str, channels: int) -> None:
    if not features.check(feature):
        pytest.skip(f"this Pillow has no {kind}")
    picture = smooth(3) if channels == 3 else smooth()
    options = {"quality": 95} if kind == "AVIF" else {"irreversible": False}
    image = decoded(encoded(picture, kind, **options))
    assert np.abs(image - picture.reshape(48, 64, channels).transpose(2, 0, 1)).mean() < 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_one_pixel_or_line_is_decoded(kind: str, shape: tuple[int, int]) -> None:
    colours = np.zeros((*shape, 3), dtype=np.uint8)
    colours[::2, ::2] = 255
    image = decoded(encoded(colours, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(image, colours.transpose(2, 0, 1))


TURNS: dict[int, Callable[[Pixels], Pixels]] = {  # from stored to shown pixels, by EXIF 2.3
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_picture_is_turned_by_its_exif(kind: str, orientation: int) -> None:
    stored = noise(5, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decoded(content), TURNS[orientation](stored).transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_turned_by_its_exif(orientation: int, channels: int) -> None:
    stored = smooth(3) if channels == 3 else smooth()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(encoded(stored, "JPEG", quality=95, exif=exif))
    expected = TURNS[orientation](stored.reshape(48, 64, channels)).transpose(2, 0, 1)
    assert image.shape == expected.shape
    assert np.abs(image - expected).mean() < 3
