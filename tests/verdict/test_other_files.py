import pandas as pd

from glow_pipeline.images.file_formats import ARRAY, FileFormat, FileFormats
from glow_pipeline.verdict.columns import COLOURS, HEIGHT, KIND, WIDTH
from glow_pipeline.verdict.other_files import other_files

PNG, JPEG = FileFormat("PNG", 28, 28, "grey"), FileFormat("JPEG", 28, 28, "grey")
LARGE, COLOURED = FileFormat("PNG", 640, 480, "grey"), FileFormat("PNG", 28, 28, "colour")


def warnings(scored: list[FileFormat | None], calibration: list[FileFormat]) -> list[str]:
    """The warnings; None: an image that is no file."""
    formats = FileFormats()
    for file in calibration:
        formats.add(file)
    rows = [(None, None, None, None) if file is None else tuple(file) for file in scored]
    return list(other_files(pd.DataFrame(rows, columns=[KIND, WIDTH, HEIGHT, COLOURS], dtype=object), formats))


def test_files_like_those_of_calibration_give_no_warning() -> None:
    assert warnings([PNG, JPEG, None], [PNG, JPEG, LARGE]) == []
    assert warnings([], [PNG]) == []


def test_images_of_unknown_files_give_no_warning() -> None:
    assert warnings([JPEG, LARGE], []) == []
    assert list(other_files(pd.DataFrame(), None)) == []


def test_lossless_files_are_stored_like_arrays() -> None:
    array = FileFormat(ARRAY, 28, 28, "grey")
    assert warnings([PNG], [array]) == []
    (kind,) = warnings([PNG, JPEG], [array])
    assert kind.startswith("1 of 2 files is JPEG, the calibration images arrays without compression: compression")
    assert warnings([array], [PNG]) == []
    assert warnings([PNG, JPEG, array], [array, JPEG]) == []
    (kind,) = warnings([array], [JPEG])
    assert kind.startswith("1 of 1 files is arrays without compression, the calibration images JPEG: compression")


def test_each_difference_gives_a_warning() -> None:
    kind, size, colours = warnings([PNG, JPEG, JPEG, LARGE, COLOURED, None], [PNG])
    assert kind.startswith("2 of 6 files are JPEG, the calibration images PNG: compression")
    assert size.startswith(
        "1 of 6 files is of a size that no calibration image has (640x480; those are 28x28): resized"
    )
    assert colours.startswith("1 of 6 files is stored in colour, unlike all calibration images")
    (grey,) = warnings([PNG], [COLOURED])
    assert grey.startswith("1 of 1 files is stored as grey, unlike")


def test_many_sizes_are_named_by_their_range() -> None:
    calibration = [FileFormat("PNG", 20 + i, 40, "grey") for i in range(5)]
    (size,) = warnings([LARGE, *(FileFormat("PNG", 700 + i, 9, "grey") for i in range(5))], calibration)
    assert "(640x480, 700x9, 701x9, ...; those are 20 to 24 wide and 40 to 40 high)" in size
