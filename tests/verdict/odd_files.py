"""Files as people have them: images of many kinds and names, and files that are none."""

import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from tests.images.pictures import chunk_of, deep_noise, deep_png, encoded, noise

GOOD = (
    *("deep.png", "deep.tif", "cmyk.jpg", "palette.png", "animated.gif", "turned.jpg", "SCAN.PNG"),
    *("ümläut.png", "a, b.png", "set [1].png", "x#y=z.png", "link.png", 'say "hi".png', "two\nlines.png"),
)
BAD = {
    "empty.png": "empty file",
    "cut.jpg": "damaged (image file is truncated",
    "text.png": "not an image, or of an unknown kind",
    "bomb.png": "more than 89,478,485 pixels (ingest.max_pixels)",
    "scan.dcm": "not an image, or of an unknown kind",
    "broken_link.png": "No such file or directory",
    "closed.png": "Permission denied",
}
READS_EVERYTHING = os.geteuid() == 0  # as root in a container


def write_odd_files(folder: Path) -> tuple[set[str], dict[str, str]]:
    """Write a folder of odd files, and return the names of the good ones, and of the bad ones with their reasons."""
    folder.mkdir()
    grey = Image.fromarray(noise(8, 8))
    colour = Image.fromarray(noise(8, 8, 3))
    palette = grey.convert("P")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    good = {
        "deep.png": deep_png(deep_noise(8, 8, 1, below=4096)),
        "deep.tif": encoded(deep_noise(8, 8, below=4096), "TIFF"),
        "cmyk.jpg": encoded(colour.convert("CMYK"), "JPEG"),
        "palette.png": encoded(palette, "PNG", transparency=0),
        "animated.gif": encoded(grey, "GIF", save_all=True, append_images=[Image.fromarray(noise(8, 8, seed=1))]),
        "turned.jpg": encoded(Image.fromarray(noise(6, 9)), "JPEG", exif=exif),
    }
    plain = encoded(grey, "PNG")
    for name in (*good, *GOOD):
        if name != "link.png":
            (folder / name).write_bytes(good.get(name, plain))
    (folder.parent / "outside.png").write_bytes(plain)
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    huge = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    bad = {
        "empty.png": b"",
        "cut.jpg": encoded(Image.fromarray(noise(64, 64)), "JPEG")[:-500],
        "text.png": b"hello",
        "bomb.png": b"\x89PNG\r\n\x1a\n" + chunk_of(b"IHDR", huge) + chunk_of(b"IDAT", b""),
        "scan.dcm": b"\0" * 128 + b"DICM" + np.zeros(64, np.uint8).tobytes(),
        "closed.png": plain,
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "broken_link.png").symlink_to(folder / "nothing.png")
    (folder / "closed.png").chmod(0)
    if READS_EVERYTHING:
        return {*GOOD, "closed.png"}, {name: reason for name, reason in BAD.items() if name != "closed.png"}
    return set(GOOD), BAD
