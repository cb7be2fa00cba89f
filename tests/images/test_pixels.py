"""Images of more than 8 bits, and images with transparency."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from glow_pipeline.images.decoding import UnreadableImageError, decode, decode_pixels
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import Background
from tests.images.pictures import (
    SIZE,
    chunk_of,
    decoded,
    deep_noise,
    deep_png,
    encoded,
    in_range,
    noise,
    on,
    png_of,
)

FULL, TWELVE_BITS = (0.0, 65535.0), (0.0, 4095.0)


def tiff(values: np.ndarray[Any, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


@pytest.mark.parametrize("grey_range", [FULL, TWELVE_BITS, (0.0, 255.0), (1000.0, 30000.0), (-5.5, 70000.25)], ids=str)
@pytest.mark.parametrize(
    ("kind", "mode", "order"),
    [("PNG", "I;16", "<"), ("TIFF", "I;16", "<"), ("TIFF", "I;16B", ">"), ("PPM", "I;16", "<")],
)
def test_16_bit_grey_is_rounded_within_its_range(
    kind: str, mode: str, order: str, grey_range: tuple[float, float]
) -> None:
    deep = deep_noise(*SIZE)
    deep[0, :2] = 0, 65535
    image = Image.frombytes(mode, (SIZE[1], SIZE[0]), deep.astype(f"{order}u2").tobytes())
    assert np.array_equal(decoded(encoded(image, kind), grey_range=grey_range), in_range(deep[:, :, None], *grey_range))


def test_16_bit_tiff_has_either_byte_order() -> None:
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
        assert decode(content, grey_range=FULL).tolist() == [[[round(level / 257) for level in levels]]], order


@pytest.mark.parametrize(
    ("dtype", "order"),
    [(dtype, order) for dtype in ("int16", "int32", "float32") for order in "<>"] + [("uint32", "<")],
)
def test_other_deep_grey_is_rounded_within_its_range(dtype: str, order: Any) -> None:
    values = np.random.default_rng(0).uniform(0, 3e9 if dtype == "uint32" else 30000, (*SIZE, 1))
    values = (values if dtype == "uint32" else values - 15000).astype(dtype)
    grey_range = (0.0, 2.0**32 - 1) if dtype == "uint32" else (-12000.0, 14000.5)
    content = tiff(values[:, :, 0], byteorder=order)
    assert np.array_equal(decoded(content, grey_range=grey_range), in_range(values, *grey_range))


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_deep_grey_without_a_range_is_refused(dtype: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"^more than 8 bits, and .*; set ingest\.range$"):
        decode(tiff(np.zeros(SIZE, dtype=dtype)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(value: float) -> None:
    values = np.zeros(SIZE, dtype=np.float32)
    values[3, 4] = value
    with pytest.raises(UnreadableImageError, match=r"^pixels that are infinite or not a number$"):
        decode(tiff(values), grey_range=(0, 1))


def test_deep_grey_whose_zero_is_white_is_inverted() -> None:
    deep = deep_noise(*SIZE, below=4096)
    content = tiff(deep, photometric="miniswhite")
    assert np.array_equal(decoded(content, grey_range=TWELVE_BITS), 255 - in_range(deep[:, :, None], 0, 4095))


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_png_keeps_all_bits(channels: int) -> None:
    deep = deep_noise(*SIZE, channels, below=4096)
    if channels == 4:
        deep[:, :, 3] = 65535
    assert np.array_equal(decoded(deep_png(deep), grey_range=TWELVE_BITS), in_range(deep[:, :, :3], 0, 4095))


def test_interlaced_16_bit_png_keeps_all_bits() -> None:
    """Adam7, as RFC 2083 has it; Pillow does not write it."""
    deep = deep_noise(*SIZE, 3)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [b"\0" + row.astype(">u2").tobytes() for y, x, down, right in passes for row in deep[y::down, x::right]]
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, 2, 0, 0, 1)
    chunks = chunk_of(b"IHDR", header), chunk_of(b"IDAT", zlib.compress(b"".join(rows))), chunk_of(b"IEND", b"")
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    assert np.array_equal(decoded(content, grey_range=FULL), in_range(deep, *FULL))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_colour_tiff_keeps_all_bits(compression: str | None, order: Any) -> None:
    deep = deep_noise(*SIZE, 3, below=4096)
    content = tiff(deep, byteorder=order, photometric="rgb", compression=compression)
    assert np.array_equal(decoded(content, grey_range=TWELVE_BITS), in_range(deep, 0, 4095))


@pytest.mark.parametrize(
    ("compression", "premultiplied"),
    [(None, False), ("zlib", False), (None, True)],  # Pillow reads no compressed one whose colours are premultiplied
)
def test_a_16_bit_tiff_with_alpha_is_composited(compression: str | None, premultiplied: bool) -> None:
    straight, alpha = deep_noise(*SIZE, 3), deep_noise(*SIZE, seed=1)
    alpha[0, :2] = 0, 65535
    share = alpha[:, :, None] / 65535
    stored = np.rint(straight * share).astype(np.uint16) if premultiplied else straight
    content = tiff(
        np.concatenate([stored, alpha[:, :, None]], axis=2),
        photometric="rgb",
        compression=compression,
        extrasamples=["assocalpha" if premultiplied else "unassalpha"],
    )
    expected = (straight / 257 * share + 255 * (1 - share)).transpose(2, 0, 1)
    assert np.abs(decoded(content, grey_range=FULL) - expected).max() < 0.51


def test_16_bit_colours_in_planes_are_refused() -> None:
    content = tiff(deep_noise(3, *SIZE), photometric="rgb", planarconfig="separate")
    with pytest.raises(UnreadableImageError, match=r"^16-bit colours in a plane each"):
        decode(content, grey_range=FULL)


def test_exif_orientation_of_16_bit_colours_is_applied() -> None:
    deep, exif = deep_noise(5, 8, 3), Image.Exif()
    exif[0x0112] = 6
    content = deep_png(deep, chunk_of(b"eXIf", exif.tobytes()[6:]))
    assert np.array_equal(decoded(content, grey_range=FULL), in_range(np.rot90(deep, -1), *FULL))


def test_16_bit_grey_with_alpha_is_composited() -> None:
    deep = deep_noise(*SIZE, 2)
    findings = Findings()
    image = decoded(deep_png(deep), grey_range=FULL, background="black", findings=findings)
    share = deep[:, :, 1:] / 65535
    expected = np.rint(deep[:, :, :1] / 257 * share).transpose(2, 0, 1)
    assert np.array_equal(image, expected)
    assert (findings.transparent, findings.deep) == (1, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_16_bit_colour_is_compared_exactly(channels: int) -> None:
    deep = np.full((1, 3, channels), 0x1234, dtype=np.uint16)
    deep[0, 1] = 0x12FF
    content = deep_png(deep, chunk_of(b"tRNS", deep[0, 0].astype(">u2").tobytes()))
    assert decoded(content, grey_range=FULL)[:, 0].T.tolist() == [[level] * channels for level in (255, 19, 255)]


def test_deep_pixels_are_counted() -> None:
    findings = Findings()
    for top in (4095, 4100):
        decode(
            encoded(np.linspace(10, top, 143).reshape(SIZE).astype(np.uint16), "PNG"),
            grey_range=TWELVE_BITS,
            findings=findings,
        )
    decode(encoded(noise(*SIZE), "PNG"), findings=findings)
    assert findings == Findings(deep=2, deep_values=286, clipped=1, lowest=10, highest=4100)


def transparent(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = encoded(image, kind, **options)
    assert Image.open(io.BytesIO(content)).has_transparency_data
    return content


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_alpha_is_grey_on_the_background(kind: str, background: Background, level: int) -> None:
    grey, alpha = noise(*SIZE), noise(*SIZE, seed=1)
    alpha[0, :2] = 0, 255
    both = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    findings = Findings()
    image = decoded(transparent(both, kind), background=background, findings=findings)
    assert np.array_equal(image, on(level, grey[:, :, None], alpha))
    assert findings == Findings(transparent=1)


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_colours_with_alpha_are_shown_on_the_background(
    kind: str, options: dict[str, Any], background: Background, level: int
) -> None:
    both = noise(*SIZE, 4)
    both[0, :2, 3] = 0, 255
    image = decoded(transparent(Image.fromarray(both), kind, **options), background=background)
    assert np.array_equal(image, on(level, both[:, :, :3], both[:, :, 3]))


def test_premultiplied_colours_are_shown_on_the_background() -> None:
    straight, alpha = noise(*SIZE, 3), noise(*SIZE, seed=1)
    stored = np.rint(straight * (alpha[:, :, None] / 255)).astype(np.uint8)
    content = tiff(np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(decoded(content) - on(255, straight, alpha)).max() <= 2


@pytest.mark.parametrize(
    ("kind", "transparency"), [("PNG", 3), ("PNG", bytes(range(0, 256, 16))), ("GIF", 3)], ids=["index", "bytes", "gif"]
)
def test_transparent_entries_of_a_palette_show_the_background(kind: str, transparency: int | bytes) -> None:
    indices, palette = noise(*SIZE) % 16, noise(16, 3, seed=1)
    image = Image.frombytes("P", (SIZE[1], SIZE[0]), indices.tobytes())
    image.putpalette(palette.tobytes())
    content = transparent(image, kind, transparency=transparency)
    opacity = np.full(16, 255)
    if isinstance(transparency, bytes):
        opacity[:] = list(transparency)
    else:
        opacity[transparency] = 0
    assert np.array_equal(decoded(content), on(255, palette[indices], opacity[indices]))


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_png_colour_shows_the_background(channels: int) -> None:
    plain = noise(*SIZE, channels)
    colour = plain[0, 0].tolist()
    content = encoded(plain.squeeze(), "PNG", transparency=colour[0] if channels == 1 else tuple(colour))
    opacity = np.where((plain == plain[0, 0]).all(axis=2), 0, 255)
    assert np.array_equal(decoded(content), on(255, plain, opacity))
    assert decoded(content)[:, 0, 0].tolist() == [255] * channels


@pytest.mark.parametrize(
    ("depth", "row", "shown"), [(1, 0b01010000, [0, 255, 0, 255]), (2, 0b00011011, [0, 85, 170, 255])]
)
@pytest.mark.parametrize("level", [0, 1])
def test_transparent_grey_of_few_bits_shows_background(depth: int, row: int, shown: list[int], level: int) -> None:
    content = png_of(4, 1, depth, 0, zlib.compress(bytes([0, row])), chunk_of(b"tRNS", bytes([0, level])))
    stored = [0, 1, 0, 1] if depth == 1 else [0, 1, 2, 3]
    expected = [0 if value == level else shown[i] for i, value in enumerate(stored)]
    assert decoded(content, background="black").tolist() == [[expected]]


@pytest.mark.parametrize("opacity", [0, 100])
def test_unused_alpha_of_a_bmp_is_ignored(opacity: int) -> None:
    """By hand: a header of version 4, which has an alpha mask; Pillow does not write it."""
    both = noise(*SIZE, 4)
    both[:, :, 3] = opacity
    height, width = SIZE
    masks = struct.pack("<4I", 0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, both.size, 2835, 2835, 0, 0) + masks
    header += bytes(108 - len(header))
    pixels = both[::-1, :, [2, 1, 0, 3]].tobytes()
    content = b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels
    assert Image.open(io.BytesIO(content)).mode == "RGBA"
    expected = on(255, both[:, :, :3], both[:, :, 3]) if opacity else both[:, :, :3].transpose(2, 0, 1)
    assert np.array_equal(decoded(content), expected)


@pytest.mark.parametrize(("kind", "channels"), [("PNG", 1), ("PNG", 3), ("TIFF", 1), ("TIFF", 3), ("WEBP", 3)])
def test_opaque_alpha_changes_no_pixel(kind: str, channels: int) -> None:
    plain = noise(*SIZE, channels)
    both = np.dstack([plain, np.full((*SIZE, 1), 255, dtype=np.uint8)])
    findings = Findings()
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decoded(encoded(both, kind, **options), findings=findings), plain.transpose(2, 0, 1))
    assert findings == Findings()


def netpbm(kind: str, highest: int, values: NDArray[np.int64]) -> bytes:
    return f"{kind} {values.shape[1]} {values.shape[0]} {highest}\n".encode() + values.astype(">u2").tobytes()


@pytest.mark.parametrize("highest", [256, 1023, 4095, 65534, 65535])
def test_grey_of_a_pgm_is_as_stored(highest: int) -> None:
    values = np.array([[0, 1, 17], [highest // 3, highest - 1, highest]])
    pixels = decode_pixels(netpbm("P5", highest, values)).pixels
    assert np.array_equal(pixels.values[:, :, 0], values)


@pytest.mark.parametrize("highest", [256, 65535])
def test_deep_colours_of_a_ppm_are_refused(highest: int) -> None:
    with pytest.raises(UnreadableImageError, match="16-bit colours in PPM"):
        decode_pixels(netpbm("P6", highest, np.zeros((2, 2, 3), dtype=np.int64)))
