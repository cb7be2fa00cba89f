"""What becomes of each kind of image file."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.images.decoding import UnreadableImageError, decode
from tests.images.pictures import SIZE, Pixels, decoded, encoded, noise, png_of, smooth


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_black_and_white_is_grey(kind: str) -> None:
    bits = noise(*SIZE) > 127
    assert np.array_equal(decoded(encoded(Image.fromarray(bits), kind)), np.where(bits, 255, 0)[None])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_grey_has_one_channel(kind: str) -> None:
    grey = noise(*SIZE)
    assert np.array_equal(decoded(encoded(grey, kind)), grey[None])


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_grey_in_a_kind_that_stores_colours_keeps_its_levels(kind: str) -> None:
    grey = noise(*SIZE)
    levels = decoded(encoded(grey, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(levels, np.broadcast_to(grey, levels.shape))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparency_of_grey_is_left_out(kind: str) -> None:
    grey, alpha = noise(*SIZE), noise(*SIZE, seed=1)
    both = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    assert np.array_equal(decoded(encoded(both, kind)), grey[None])


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


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True}), ("BMP", {})]
)
def test_transparency_of_colours_is_left_out(kind: str, options: dict[str, object]) -> None:
    both = noise(*SIZE, 4)
    assert np.array_equal(decoded(encoded(both, kind, **options)), both[:, :, :3].transpose(2, 0, 1))


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


@pytest.mark.parametrize(
    ("kind", "transparency"), [("PNG", 3), ("PNG", bytes(range(0, 256, 16))), ("GIF", 3)], ids=["index", "bytes", "gif"]
)
def test_transparency_of_a_palette_is_left_out(kind: str, transparency: int | bytes) -> None:
    image, colours = paletted()
    content = encoded(image, kind, transparency=transparency)
    assert "transparency" in Image.open(io.BytesIO(content)).info
    assert np.array_equal(decoded(content), colours.transpose(2, 0, 1))


@pytest.mark.parametrize("colour_type", [0, 2])
def test_a_transparent_colour_of_a_png_is_a_colour(colour_type: int) -> None:
    plain = noise(*SIZE) if colour_type == 0 else noise(*SIZE, 3)
    content = encoded(plain, "PNG", transparency=int(plain[0, 0]) if colour_type == 0 else tuple(plain[0, 0].tolist()))
    assert "transparency" in Image.open(io.BytesIO(content)).info
    assert np.array_equal(decoded(content), plain.reshape(*SIZE, -1).transpose(2, 0, 1))


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
def test_a_jpeg_is_what_pillow_makes_of_it_and_close_to_the_picture(mode: str, options: dict[str, object]) -> None:
    picture = Image.fromarray(smooth(3)).convert("L" if mode == "L" else "RGB")
    content = encoded(picture.convert(mode), "JPEG", quality=90, **options)
    image = decoded(content)
    pillow = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(image, pillow.reshape(48, 64, -1).transpose(2, 0, 1))
    assert np.abs(image - np.asarray(picture).reshape(48, 64, -1).transpose(2, 0, 1)).mean() < 3


@pytest.mark.parametrize(
    ("kind", "mode", "order"),
    [("PNG", "I;16", "<"), ("TIFF", "I;16", "<"), ("TIFF", "I;16B", ">"), ("PPM", "I;16", "<")],
)
def test_16_bit_grey_keeps_its_high_byte(kind: str, mode: str, order: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, SIZE).astype(np.uint16)
    deep[0, :2] = 0, 65535
    image = Image.frombytes(mode, (SIZE[1], SIZE[0]), deep.astype(f"{order}u2").tobytes())
    assert np.array_equal(decoded(encoded(image, kind)), deep[None].astype(np.int64) // 256)


def test_a_16_bit_tiff_is_read_in_both_byte_orders() -> None:
    """By hand: the smallest TIFF there is, of one strip."""
    levels = [0x0102, 0x1234, 0xFFEE]
    for order, mark in (("<", b"II"), (">", b"MM")):
        fields = [
            (256, 3),
            (257, 1),
            (258, 16),
            (259, 1),
            (262, 1),
            (273, 8 + 2 + 9 * 12 + 4),
            (277, 1),
            (278, 1),
            (279, 6),
        ]
        content = mark + struct.pack(f"{order}HIH", 42, 8, len(fields))
        for tag, value in fields:
            content += struct.pack(f"{order}HHII", tag, 4, 1, value)
        content += struct.pack(f"{order}I3H", 0, *levels)
        assert decode(content).tolist() == [[[level >> 8 for level in levels]]], order


def test_32_bit_grey_in_the_range_of_16_bits_is_taken_as_16_bits() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, SIZE, dtype=np.int32)
    assert np.array_equal(decoded(encoded(Image.fromarray(deep), "TIFF")), deep[None] // 256)


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bit_grey_beyond_16_bits_is_refused(value: int) -> None:
    deep = np.zeros(SIZE, dtype=np.int32)
    deep[5, 5] = value
    with pytest.raises(UnreadableImageError, match=r"^32-bit pixels, whose range is not known$"):
        decode(encoded(Image.fromarray(deep), "TIFF"))


def test_floating_point_grey_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match=r"^floating-point pixels, whose range is not known$"):
        decode(encoded(Image.fromarray(np.zeros(SIZE, dtype=np.float32)), "TIFF"))


def test_a_16_bit_png_of_colours_keeps_its_high_bytes() -> None:
    """Pillow cannot write one; the format as RFC 2083 has it."""
    deep = np.random.default_rng(0).integers(0, 65536, (*SIZE, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    content = png_of(SIZE[1], SIZE[0], 16, 2, zlib.compress(rows))
    assert np.array_equal(decoded(content), deep.astype(np.int64).transpose(2, 0, 1) // 256)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_many_pictures_in_a_file_the_first_is_taken(kind: str) -> None:
    pictures = [Image.fromarray(np.full((*SIZE, 3), value, dtype=np.uint8)) for value in (40, 120, 200)]
    content = encoded(
        pictures[0], kind, save_all=True, append_images=pictures[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert Image.open(io.BytesIO(content)).n_frames == 3  # type: ignore[attr-defined]  # some kinds have it
    image = decode(content)
    assert image.shape == (3, *SIZE)
    assert image.unique().tolist() == [40]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_a_picture_may_be_a_point_or_a_line(kind: str, shape: tuple[int, int]) -> None:
    colours = np.zeros((*shape, 3), dtype=np.uint8)
    colours[::2, ::2] = 255
    image = decoded(encoded(colours, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(image, colours.transpose(2, 0, 1))


TURNS: dict[int, Callable[[Pixels], Pixels]] = {  # from what is stored to what a viewer shows, by EXIF 2.3
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
def test_a_picture_is_turned_as_its_exif_says(kind: str, orientation: int) -> None:
    stored = noise(5, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decoded(content), TURNS[orientation](stored).transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_turned_as_its_exif_says(orientation: int, channels: int) -> None:
    stored = smooth(3) if channels == 3 else smooth()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(encoded(stored, "JPEG", quality=95, exif=exif))
    expected = TURNS[orientation](stored.reshape(48, 64, channels)).transpose(2, 0, 1)
    assert image.shape == expected.shape
    assert np.abs(image - expected).mean() < 3
