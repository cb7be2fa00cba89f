import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.images.sources.image_files import ImageFiles, list_counts, suffixes


def put(folder: Path, name: str, kind: str | None = "PNG") -> None:
    """An image of a kind, or a text, under any name."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO(b"no picture")
    if kind is not None:
        Image.fromarray(np.full((4, 4), 100, dtype=np.uint8)).save(stream, kind)
    file.write_bytes(stream.getvalue())


def found(folder: Path) -> tuple[list[str], dict[str, int]]:
    files = ImageFiles()
    return list(files.below(folder)), dict(files.passed_over)


@pytest.mark.parametrize("name", ["a.jfif", "b.JPE", "c", "d.jpg_original", "e.dat", "f.mpo"])
def test_jpegs_are_images_under_any_suffix(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, "JPEG")
    assert found(tmp_path) == ([name], {})


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "JPEG"])
def test_kinds_are_known_by_their_first_bytes(tmp_path: Path, kind: str) -> None:
    put(tmp_path, "image", kind)
    assert found(tmp_path) == (["image"], {})


def test_camera_raws_and_texts_are_no_images(tmp_path: Path) -> None:
    """A camera raw file begins like TIFF, and Pillow would read its thumbnail."""
    put(tmp_path, "photo.nef", "TIFF")
    (tmp_path / "table").write_text("BMI,height")
    (tmp_path / "plan").write_text("P1 is first")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypmif1")
    assert found(tmp_path) == ([], {".heic": 1, ".nef": 1, "other": 2})


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    for name in ("1.dcm", "a/2.DCM", "a/notes.txt", "a/Thumbs.db", ".hidden/1.png", "a/._1.png", "x.very_long_suffix"):
        put(tmp_path, name, None)
    expected = {".dcm": 2, ".txt": 1, ".db": 1, "hidden": 2, "other": 1}
    assert found(tmp_path) == (["a/1.png"], expected)


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", "@Recycle", "lost+found"])
def test_folders_of_systems_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/1.png/THUMB.jpg", "JPEG")
    put(tmp_path, f"deep/{name}/1.png")
    put(tmp_path, "deep/1.png")
    assert found(tmp_path) == (["deep/1.png"], {f"{name}/": 2})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    os.mkfifo(tmp_path / "2.png")
    os.mkfifo(tmp_path / "3")
    (tmp_path / "4.png").symlink_to(tmp_path / "2.png")
    assert found(tmp_path) == (["1.png"], {"special": 3})


def test_damaged_files_of_a_known_suffix_are_images(tmp_path: Path) -> None:
    """Decoding reports them."""
    for suffix in suffixes():
        put(tmp_path, f"x{suffix}", None)
    assert len(found(tmp_path)[0]) == len(suffixes())


def test_report_names_the_most_frequent_kinds() -> None:
    assert list_counts({}) == ""
    assert list_counts({".txt": 3, ".dcm": 1000, "@eaDir/": 1}) == "1,000 .dcm, 3 .txt, 1 @eaDir/"
    assert list_counts({f".{k}": 100 - k for k in range(10)}).endswith("93 .7, 183 others")
