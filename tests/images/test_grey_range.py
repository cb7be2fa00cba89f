"""The grey range of deep images."""

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images import grey_range
from glow_pipeline.images.grey_range import decide_range
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.kept_digests import KeptDigests
from tests.images.pictures import SIZE, deep_noise, deep_png, encoded, noise, smooth


def folder_of(folder: Path, **files: bytes) -> ImageSelection:
    """A folder of training images, and one of test images beside it that has none of them."""
    for name, content in {**files, "other__png": encoded(noise(*SIZE), "PNG")}.items():
        file = folder / name.replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (folder.parent / "test").mkdir(exist_ok=True)
    (folder.parent / "test" / "other.png").write_bytes(encoded(noise(*SIZE), "PNG"))
    return ImageSelection.of_folder(str(folder), str(folder.parent / "test"), 10.0, 0)


def tiff(folder: Path, values: NDArray[Any], **options: Any) -> bytes:
    tifffile.imwrite(folder / "one.tif", values, **options)
    content = (folder / "one.tif").read_bytes()
    (folder / "one.tif").unlink()
    return content


@pytest.mark.parametrize(
    ("largest", "high"), [(1, 255), (255, 255), (256, 511), (1023, 1023), (1024, 2047), (4012, 4095), (65535, 65535)]
)
def test_whole_numbers_reach_the_next_power_of_two(tmp_path: Path, largest: int, high: int) -> None:
    values = np.zeros(SIZE, dtype=np.uint16)
    values[3, 4] = largest
    image_selection = folder_of(tmp_path / "a", one__png=encoded(values, "PNG"))
    assert decide_range(image_selection, "train") == (0, high)
    assert decide_range(image_selection, "test") is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[-1024, 5], [3, 3071]], dtype=np.int16), (-1024, 3071)),
        (np.array([[0, 70000], [3, 4]], dtype=np.int32), (0, 2**17 - 1)),
        (np.array([[0, 4e9], [3, 4]], dtype=np.uint32), (0, 2**32 - 1)),
        (np.array([[0.0, 0.5], [0.25, 1.0]], dtype=np.float32), (0, 1)),
        (np.array([[0.125, 0.25]], dtype=np.float32), (0, 1)),
        (np.array([[-0.5, 0.25]], dtype=np.float32), (-0.5, 0.25)),
        (np.array([[0.0, 812.5]], dtype=np.float32), (0, 812.5)),
        (np.array([[7.5, 7.5]], dtype=np.float32), (7.5, 8.5)),
    ],
    ids=str,
)
def test_other_values_reach_from_lowest_to_highest(
    tmp_path: Path, values: NDArray[Any], expected: tuple[float, float]
) -> None:
    image_selection = folder_of(tmp_path / "a", one__tif=tiff(tmp_path, values))
    assert decide_range(image_selection, "train") == expected


def test_bits_that_a_file_states_are_believed(tmp_path: Path) -> None:
    """Two pixels of 12 bits in three bytes."""
    image = Image.frombytes("I;16", (2, 1), bytes([1, 0, 2, 0]))
    content = encoded(image, "TIFF")
    bits_per_sample = struct.pack("<HHI", 258, 3, 1)
    assert content.count(bits_per_sample + b"\x10") == 1
    content = content.replace(bits_per_sample + b"\x10", bits_per_sample + b"\x0c")
    assert decide_range(folder_of(tmp_path / "a", one__tif=content), "train") == (0, 4095)


def test_deep_colours_count_too(tmp_path: Path) -> None:
    image_selection = folder_of(tmp_path / "a", one__png=deep_png(deep_noise(*SIZE, 3, below=1000)))
    assert decide_range(image_selection, "train") == (0, 1023)


def test_a_folder_of_8_bits_has_no_range(tmp_path: Path) -> None:
    files = {
        f"a__{kind.lower()}": encoded(smooth(3), kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
    }
    assert decide_range(folder_of(tmp_path / "a", **files, notes__png=b"no picture"), "train") is None
    assert decide_range(ImageSelection.of("digits"), "train") is None


def test_only_the_wanted_classes_are_looked_at(tmp_path: Path) -> None:
    for name, top in (("a", 900), ("b", 5000)):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "one.png").write_bytes(encoded(np.full(SIZE, top, dtype=np.uint16), "PNG"))
    path = str(tmp_path / "set")
    assert decide_range(ImageSelection.of_folder(path, path, 10.0, 0), "test") == (0, 8191)
    assert decide_range(ImageSelection.of_folder(path, path, 10.0, 0, [0]), "test") == (0, 1023)
    assert decide_range(ImageSelection.of_folder(path, path, 10.0, 0, ["b"]), "test") == (0, 8191)


def test_decided_range_is_logged_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image_selection = folder_of(tmp_path / "a", one__png=encoded(np.full(SIZE, 4012, dtype=np.uint16), "PNG"))
    with caplog.at_level(logging.INFO):
        decide_range(image_selection, "train")
    assert caplog.messages == [
        f"{tmp_path / 'a'}: 1 image has more than 8 bits; of the grey values (4012 to 4012 in 1 of them) 0 to 4095 "
        "become 0 to 255; ingest.range=low-high sets another range"
    ]


def test_whole_numbers_and_fractions_have_no_common_range(tmp_path: Path) -> None:
    image_selection = folder_of(
        tmp_path / "a",
        one__png=encoded(deep_noise(*SIZE), "PNG"),
        two__tif=tiff(tmp_path, np.zeros(SIZE, dtype=np.float32)),
    )
    with pytest.raises(GlowPipelineError, match=r"1 of 2 images .* fractions as pixels.*; set ingest\.range=low-high"):
        decide_range(image_selection, "train")


def test_many_files_are_sampled_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grey_range, "SAMPLE", 3)
    files = {f"f{i}__png": encoded(np.full(SIZE, 300 * 2**i, dtype=np.uint16), "PNG") for i in range(7)}
    image_selection = folder_of(tmp_path / "a", **files)
    assert decide_range(image_selection, "train") == (0, 2**15 - 1)  # the last one's 19,200
    (tmp_path / "a" / "f6.png").write_bytes(encoded(np.full(SIZE, 5, dtype=np.uint16), "PNG"))
    assert decide_range(image_selection, "train") == (0, 4095)  # the fourth one's 2,400; those beside it are not read


def test_next_command_reads_no_grey_value_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    image_selection = folder_of(tmp_path / "a", one__png=deep_png(deep_noise(*SIZE, 1)))
    first, lines = decide_range(image_selection, "train", looks=looks_in(tmp_path)), list(caplog.messages)
    caplog.clear()
    looked: list[str] = []
    deep_files = grey_range._deep_files

    def recorded(*arguments: Any) -> Any:
        looked.append(arguments[-1])
        return deep_files(*arguments)

    monkeypatch.setattr(grey_range, "_deep_files", recorded)
    assert decide_range(image_selection, "train", looks=looks_in(tmp_path)) == first
    assert caplog.messages == lines
    assert not looked
    (note,) = (tmp_path / "listings").glob("*.json")
    note.write_text("{}")
    assert decide_range(image_selection, "train", looks=looks_in(tmp_path)) == first
    assert looked == ["a"]


def test_range_beside_unreadable_files_is_found_again(tmp_path: Path) -> None:
    image_selection = folder_of(tmp_path / "a", one__png=deep_png(deep_noise(*SIZE, 1)), two__tif=b"no picture")
    assert decide_range(image_selection, "train", looks=looks_in(tmp_path)) is not None
    assert list((tmp_path / "listings").glob("*.json")) == []


def looks_in(tmp_path: Path) -> FolderLooks:
    return FolderLooks(KeptDigests(tmp_path / "listings"))
