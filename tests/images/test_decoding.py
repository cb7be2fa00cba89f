import gc
import io
import logging
import multiprocessing
import os
import random
import signal
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, features

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images import decoding
from glow_pipeline.images.decoding import (
    CHUNK_BYTES,
    CHUNK_IMAGES,
    WORTH_A_PROCESS,
    Prepared,
    UnreadableImageError,
    decode,
    decode_and_prepare,
)
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.spec import ImageSpec
from tests.conftest import random_images

Pixels = NDArray[np.uint8]

SIZE = (11, 13)  # (h, w)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image | Pixels, kind: str, **options: object) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def smooth(*channels: int) -> Pixels:
    """A picture that JPEG hardly changes."""
    rows, columns = np.mgrid[0:48, 0:64]
    planes = [(rows * 2 + columns * (1 + k)) % 256 // 2 + 40 for k in range(*channels)] if channels else [rows * 4]
    return np.stack(planes, axis=-1).astype(np.uint8).squeeze()


def decoded(content: bytes) -> NDArray[np.int64]:
    """(C, h, w), wide enough for differences."""
    image = decode(content)
    assert image.dtype == torch.uint8
    return image.numpy().astype(np.int64)


# Modes ------------------------------------------------------------------------------------------


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


# What cannot be used ----------------------------------------------------------------------------


def chunk_of(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width: int, height: int, depth: int, colour_type: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk_of(b"IHDR", header) + chunk_of(b"IDAT", data) + chunk_of(b"IEND", b"")
    )  # fmt: skip


PHOTO = encoded(noise(64, 64, 3), "PNG")
JPEG = encoded(noise(64, 64, 3), "JPEG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty file", id="empty"),
        pytest.param(b"These are notes.\nNo picture.\n", "not an image", id="text"),
        pytest.param(b"\0" * 1000, "not an image", id="zeros"),
        pytest.param(PHOTO[:7], "not an image", id="half_a_signature"),
        pytest.param(PHOTO[:30], "not an image", id="half_a_png_header"),
        pytest.param(PHOTO[: len(PHOTO) // 2], "damaged", id="half_a_png"),
        pytest.param(JPEG[: len(JPEG) // 2], "damaged", id="half_a_jpeg"),
        pytest.param(png_of(50_000, 50_000, 8, 2, b""), "pixels", id="bomb"),
        pytest.param(png_of(10_000, 10_000, 8, 2, b""), "pixels", id="bomb_that_pillow_lets_pass"),
        pytest.param(b"BM" + bytes(60), "not an image|damaged", id="bmp_of_zeros"),
        pytest.param(b"P5 1000000 1000000 255\n", "pixels", id="pgm_bomb"),
    ],
)
def test_what_is_no_picture_is_told_in_a_few_words(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason) as told:
        decode(content)
    assert_short(told.value)


def assert_short(told: UnreadableImageError) -> None:
    assert str(told).isprintable()
    assert 0 < len(str(told)) < 130


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 143)
    assert decode(encoded(noise(11, 13), "PNG")).shape == (1, 11, 13)
    with pytest.raises(UnreadableImageError, match=r"^12x12 pixels; allowed are 143$"):
        decode(encoded(noise(12, 12), "PNG"))


def test_a_picture_of_a_kind_that_is_not_offered_is_not_even_tried() -> None:
    """PostScript would be handed to Ghostscript, and decoders of rare kinds fail in ways of their own."""
    kinds = ["EPS", "DDS", *(["AVIF"] if features.check("avif") else [])]
    for kind in kinds:
        with pytest.raises(UnreadableImageError, match=r"^not an image, or of an unknown kind$"):
            decode(encoded(noise(16, 16, 3), kind))


def fuzzed() -> list[bytes]:
    """Small files of every kind and mode."""
    colours = Image.fromarray(noise(*SIZE, 4), "RGBA")
    files = [
        encoded(colours.convert("RGB").convert(mode), kind)
        for kind, modes in {
            "PNG": ["1", "L", "LA", "P", "RGB", "RGBA"],
            "JPEG": ["L", "RGB", "CMYK", "YCbCr"],
            "BMP": ["1", "L", "P", "RGB", "RGBA"],
            "GIF": ["L", "P"],
            "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F"],
            "WEBP": ["RGB", "RGBA"],
            "PPM": ["1", "L", "RGB"],
        }.items()
        for mode in modes
    ]
    files += [encoded(colours.convert("RGB"), "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate")]
    files.append(encoded(Image.fromarray(noise(*SIZE).astype(np.uint16) * 255), "PNG"))
    for kind in ("GIF", "WEBP", "PNG"):
        files.append(encoded(colours, kind, save_all=True, append_images=[colours.rotate(90), colours.rotate(180)]))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    files += [encoded(colours.convert("RGB"), kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    return files


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Cut off, or with some bytes changed or lost; more often in the header, where it does most."""
    content_ = bytearray(content)
    how = chance.random()
    if how < 0.25:
        return bytes(content_[: chance.randrange(len(content_))])
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        position = chance.randrange(len(content_) if chance.random() < 0.5 else min(len(content_), 80))
        content_[position] = chance.choice([0, 255, chance.randrange(256), content_[position] ^ 1])
    if how > 0.9:
        start = chance.randrange(len(content_))
        del content_[start : start + chance.randrange(8)]
    return bytes(content_)


def test_damaged_files_are_decoded_or_refused_and_nothing_else_happens(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    files, chance = fuzzed(), random.Random(0)
    refused = 0
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for index in range(1500):
            try:
                image = decode(damaged(files[index % len(files)], chance))
            except UnreadableImageError as told:
                assert_short(told)
                refused += 1
            else:
                assert image.dtype == torch.uint8
                assert image.shape[0] in (1, 3)
                assert image.numel()
    assert 400 < refused < 1400
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_a_damaged_tiff_of_which_pillow_talks_says_so_only_in_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(encoded(noise(*SIZE, 3), "TIFF"))
    at = content.index(struct.pack("<HHI", 277, 3, 1))  # SamplesPerPixel, a short, one of them
    content[at + 8 : at + 10] = struct.pack("<H", 1027)
    with pytest.raises(UnreadableImageError):
        decode(bytes(content))
    assert caplog.records == []


def test_decoding_leaves_the_warnings_of_others_alone() -> None:
    before = list(warnings.filters)
    decode(PHOTO)
    with pytest.raises(UnreadableImageError):
        decode(PHOTO[:50])
    assert warnings.filters == before


# Many images, in processes ----------------------------------------------------------------------

SPEC = ImageSpec(channels=3, height=4, width=6, n_bits=5, fit="resize")


@dataclass(frozen=True)
class Pictures:
    """Image i is grey and has the size and the level that follow from i; every 7th cannot be read."""

    parent: int = 0

    def __call__(self, index: int) -> bytes:
        if index % 7 == 3:
            raise UnreadableImageError(f"missing in {'the parent' if os.getpid() == self.parent else 'a child'}")
        if index % 7 == 5:
            return b"text"
        return encoded(np.full((3 + index % 4, 5), index % 256, dtype=np.uint8), "PNG")

    def name(self, index: int) -> str:
        return f"{index}.png"


def joined(chunks: list[Prepared]) -> Prepared:
    unreadable = {name: reason for chunk in chunks for name, reason in chunk.unreadable.items()}
    rows = np.concatenate([chunk.rows for chunk in chunks])
    return Prepared(rows, torch.cat([chunk.images for chunk in chunks]), unreadable)


@pytest.mark.parametrize("num_workers", [0, 1, 2, None])
def test_the_result_does_not_depend_on_the_number_of_processes(num_workers: int | None) -> None:
    rows = np.arange(1000, 1000 + 2 * (WORTH_A_PROCESS + 1), 2)
    result = joined(list(decode_and_prepare(Pictures(os.getpid()), rows, SPEC, num_workers)))
    readable = [row for row in rows if row % 7 not in (3, 5)]
    assert result.rows.tolist() == readable
    assert result.rows.dtype == np.int64
    levels = torch.tensor([row % 256 >> 3 for row in readable], dtype=torch.uint8)
    assert torch.equal(result.images, levels[:, None, None, None].expand(-1, *SPEC.shape))
    assert list(result.unreadable) == [f"{row}.png" for row in rows if row % 7 in (3, 5)]
    where = "the parent" if num_workers == 0 else "a child"
    assert set(result.unreadable.values()) == {
        f"missing in {where}",
        "not an image, or of an unknown kind",
    }


def test_few_images_are_not_worth_a_process() -> None:
    (chunk,) = decode_and_prepare(Pictures(os.getpid()), np.array([3]), SPEC, 2)
    assert chunk.unreadable == {"3.png": "missing in the parent"}
    assert chunk.images.shape == (0, *SPEC.shape)
    assert chunk.rows.shape == (0,)


def test_images_come_in_the_order_of_the_rows() -> None:
    rows = np.array([42, 2, 9, 2])
    (chunk,) = decode_and_prepare(Pictures(), rows, SPEC, 0)
    assert chunk.rows.tolist() == [42, 2, 9, 2]
    assert chunk.images[:, 0, 0, 0].tolist() == [row >> 3 for row in rows]


@pytest.mark.parametrize(
    ("side", "most"), [(8, CHUNK_IMAGES), (256, CHUNK_BYTES // (3 * 256 * 256)), (1024, 1)], ids=str
)
def test_chunks_are_bounded_in_images_and_in_bytes(side: int, most: int) -> None:
    spec = ImageSpec(channels=3, height=side, width=side, n_bits=8, fit="pad")
    rows = 7 * np.arange(2 * most + 1)
    sizes = [len(chunk.images) for chunk in decode_and_prepare(Pictures(), rows, spec, 0)]
    assert sizes == [most, most, 1]
    assert most == 1 or most * 3 * side * side <= CHUNK_BYTES


@dataclass(frozen=True)
class Killed:
    """Dies at one image as a process does that the kernel kills for its memory."""

    parent: int

    def __call__(self, index: int) -> bytes:
        if index == 200:
            assert os.getpid() != self.parent, "no process was made"
            os.kill(os.getpid(), signal.SIGKILL)
        return PHOTO

    def name(self, index: int) -> str:
        return str(index)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ends the processes of a loader that failed here, not in the next test, and without 5 seconds of waiting."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    yield
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("impatient")
def test_a_process_that_is_killed_is_told_in_one_line() -> None:
    with pytest.raises(GlowPipelineError, match=r"^ingest\.num_workers=2: a decoding process died .*lower it$") as told:
        list(decode_and_prepare(Killed(os.getpid()), np.arange(WORTH_A_PROCESS), SPEC, 2))
    assert "\n" not in str(told.value)


@dataclass(frozen=True)
class Broken:
    """A mistake in a program."""

    def __call__(self, index: int) -> bytes:
        raise RuntimeError("a mistake")

    def name(self, index: int) -> str:
        return str(index)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_another_error_stays_what_it_is(num_workers: int) -> None:
    with pytest.raises(RuntimeError, match="a mistake"):
        list(decode_and_prepare(Broken(), np.arange(WORTH_A_PROCESS), SPEC, num_workers))


# One path ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    contents: list[bytes]

    def __call__(self, index: int) -> bytes:
        return self.contents[index]

    def name(self, index: int) -> str:
        return str(index)


def prepared(content: bytes, spec: ImageSpec) -> NDArray[np.int64]:
    (chunk,) = decode_and_prepare(Files([content]), np.array([0]), spec, 0)
    return chunk.images[0].numpy().astype(np.int64)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (7, 40), (64, 5)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_becomes_what_pillow_makes_of_it(kind: str, height: int, width: int) -> None:
    spec = ImageSpec(channels=3, height=height, width=width, n_bits=8, fit="resize")
    for seed in range(5):
        content = encoded(noise(20 + 9 * seed, 51, 3, seed=seed), kind)
        pillow = Image.open(io.BytesIO(content)).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        assert np.abs(prepared(content, spec) - np.asarray(pillow).transpose(2, 0, 1)).max() <= 1


@pytest.mark.parametrize("fit", ["resize", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_grey_file_becomes_what_the_same_picture_in_colours_does(channels: int, fit: str) -> None:
    """Else two sets could be told apart by how their files were stored."""
    for seed, size in enumerate([(9, 9), (17, 50), (40, 21), (32, 32)]):
        grey = noise(*size, seed=seed)
        spec = ImageSpec.model_validate({"channels": channels, "height": 16, "width": 16, "n_bits": 8, "fit": fit})
        in_colours = encoded(np.repeat(grey[:, :, None], 3, axis=2), "PNG")
        assert np.array_equal(prepared(encoded(grey, "PNG"), spec), prepared(in_colours, spec))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_a_file_becomes_what_the_same_pixels_in_an_array_do(channels: int, fit: str) -> None:
    """Sources of arrays and sources of files meet in one table; their memory lies differently, and torch minds that."""
    spec = ImageSpec.model_validate({"channels": 3, "height": 16, "width": 24, "n_bits": 4, "fit": fit})
    for seed, size in enumerate([(9, 9), (17, 50), (40, 21), (16, 24)]):
        image = random_images(1, channels, size, seed)
        pixels = image[0].permute(1, 2, 0).squeeze(2).numpy()
        assert np.array_equal(prepared(encoded(pixels, "PNG"), spec), prepare(image, spec)[0].numpy())
