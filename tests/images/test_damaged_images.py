"""Image files that cannot be used."""

import logging
import random
import struct
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.images.decoding import UnreadableImageError, decode
from tests.images.pictures import SIZE, deep_noise, deep_png, encoded, noise, png_of

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
def test_file_of_another_kind_is_unreadable(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason) as raised:
        decode(content)
    assert_short(raised.value)


def assert_short(error: UnreadableImageError) -> None:
    assert str(error).isprintable()
    assert 0 < len(str(error)) < 130


def test_too_many_pixels_are_refused_before_decoding() -> None:
    assert decode(encoded(noise(11, 13), "PNG"), max_pixels=143).shape == (1, 11, 13)
    with pytest.raises(UnreadableImageError, match=r"^more than 143 pixels \(ingest\.max_pixels\)$"):
        decode(encoded(noise(12, 12), "PNG"), max_pixels=143)


def test_pixel_limit_can_be_raised() -> None:
    before = Image.MAX_IMAGE_PIXELS
    large = encoded(Image.new("1", (9_500, 9_500)), "PNG")
    with pytest.raises(UnreadableImageError, match=r"^more than 89,478,485 pixels"):
        decode(large)
    assert decode(large, max_pixels=100_000_000).shape == (1, 9_500, 9_500)
    assert before == Image.MAX_IMAGE_PIXELS


def test_other_kinds_of_pictures_are_never_tried() -> None:
    """PostScript would be handed to Ghostscript, and decoders of rare kinds fail in ways of their own."""
    for kind in ("EPS", "DDS"):
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
    files += [deep_png(deep_noise(*SIZE, channels)) for channels in (2, 3, 4)]
    files += [encoded(colours.convert("RGB"), "JPEG2000"), encoded(colours.convert("RGB"), "MPO", save_all=True)]
    for kind in ("GIF", "WEBP", "PNG"):
        files.append(encoded(colours, kind, save_all=True, append_images=[colours.rotate(90), colours.rotate(180)]))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    files += [encoded(colours.convert("RGB"), kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    return files


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Truncate the file, or change or remove some bytes, more often in the header."""
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


def test_damaged_files_are_decoded_or_refused(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    files, chance = fuzzed(), random.Random(0)
    refused = 0
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for index in range(1500):
            try:
                image = decode(damaged(files[index % len(files)], chance), grey_range=(0, 65535))
            except UnreadableImageError as raised:
                assert_short(raised)
                refused += 1
            else:
                assert image.dtype == torch.uint8
                assert image.shape[0] in (1, 3)
                assert image.numel()
    assert 400 < refused < 1400
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_damaged_tiff_prints_nothing(caplog: pytest.LogCaptureFixture) -> None:
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
