"""Verdicts in Python, on files and on arrays."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.image_detector import ImageDetector
from tests.conftest import random_images
from tests.verdict.judges import NLL, full_judge

N = 9


@pytest.fixture(scope="module")
def detector() -> ImageDetector:
    return ImageDetector(full_judge())


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    """Grey images that are larger than the model's."""
    pixels: np.ndarray = random_images(N, size=(12, 10), seed=4)[:, 0].numpy()
    return pixels


@pytest.fixture
def folder(tmp_path: Path, array: np.ndarray) -> Path:
    for i, image in enumerate(array):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "none.png").write_text("no image")
    return tmp_path


def by_image(table: pd.DataFrame, number: str) -> pd.DataFrame:
    order = table[columns.FILE].str.extract(number)[0].astype("Int64")
    return table[order.notna()].set_index(order.dropna()).sort_index()


def test_arrays_are_judged_as_their_files_are(
    detector: ImageDetector, folder: Path, array: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        of_array = detector.score(array)
    assert "Images of shape (1, 12, 10) are prepared as files are: 1x8x8_4bit_resize" in caplog.messages
    of_folder = detector.score(folder)
    assert list(of_array.columns) == list(of_folder.columns)
    assert of_array.dtypes.equals(of_folder.dtypes)
    one, other = by_image(of_array, r"image (\d+)"), by_image(of_folder, r"(\d+)\.png")
    assert len(one) == len(other) == N
    for name in set(one.columns) - {columns.FILE, columns.KIND}:
        pd.testing.assert_series_equal(one[name], other[name], rtol=1e-6)


def test_unreadable_file_is_a_row_with_its_reason(detector: ImageDetector, folder: Path) -> None:
    table = detector.score(folder)
    assert len(table) == N + 1
    last = table.iloc[-1]
    assert (Path(last[columns.FILE]).name, last[columns.VERDICT]) == ("none.png", columns.NO_VERDICT)


def test_list_of_files_is_judged_as_the_folder(detector: ImageDetector, folder: Path) -> None:
    files = sorted(folder.iterdir(), reverse=True)
    some = detector.score([files[0], str(files[1]), folder / "absent.png"]).set_index(columns.FILE)
    assert some.loc[str(folder / "absent.png"), columns.VERDICT] == columns.NO_VERDICT
    every = detector.score(folder).set_index(columns.FILE)
    one, other = ([*table.loc[str(files[1]), [NLL, columns.P_VALUE]]] for table in (some, every))
    assert one == pytest.approx(other, rel=1e-6)


def test_rate_decides_the_verdicts(detector: ImageDetector, array: np.ndarray) -> None:
    table = detector.score(array, false_alarm_rate=0.01)
    outlier = (table[columns.VERDICT] == columns.OUTLIER).tolist()
    assert outlier == (table[columns.P_VALUE] <= 0.01).tolist()
    assert set(outlier) == {True, False}


def test_table_is_worth_what_its_own_rates_promise(detector: ImageDetector, array: np.ndarray, tmp_path: Path) -> None:
    table = detector.score(array, false_alarm_rate=0.5, false_discovery_rate=0.2)
    worth = detector.worth(table)
    assert (worth.false_alarm_rate, worth.false_discovery_rate) == (0.5, 0.2)
    assert worth.n_outliers == (table[columns.P_VALUE] <= 0.5).sum()
    table.to_csv(tmp_path / "table.csv")
    with pytest.raises(GlowPipelineError, match="has no rates in its attrs; give a table as `score` returns it"):
        detector.worth(pd.read_csv(tmp_path / "table.csv"))


def test_file_is_explained_as_its_array(detector: ImageDetector, folder: Path, array: np.ndarray) -> None:
    of_file, of_array = detector.explain(folder / "2.png"), detector.explain(array[2], n_nearest=1)
    assert of_file.reason == of_array.reason
    np.testing.assert_allclose(of_file.surprise, of_array.surprise)
    assert (len(of_file.nearest), len(of_array.nearest)) == (3, 1)


def test_pillows_images_are_judged_as_their_files(
    detector: ImageDetector, folder: Path, array: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    seen_through = Image.fromarray(array[0]).convert("LA")
    seen_through.putpixel((0, 0), (7, 0))
    with caplog.at_level(logging.INFO):
        table = detector.score([seen_through, *map(Image.fromarray, array[1:])])
    assert "1 image with transparent pixels, shown on white (ingest.background)" in caplog.messages
    one, other = by_image(table, r"image (\d+)"), by_image(detector.score(folder), r"(\d+)\.png")
    for name in (NLL, columns.P_VALUE, columns.REASON):
        pd.testing.assert_series_equal(one[name][1:], other[name][1:], rtol=1e-6)
    assert detector.explain(Image.fromarray(array[2])).reason == other[columns.REASON][2]


def test_doubts_are_logged(
    detector: ImageDetector, tmp_path: Path, array: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    deep = (array[0].astype(np.uint16) << 4).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    table = detector.score(tmp_path / "deep.png")
    assert table[columns.UNREADABLE].isna().all()
    doubt = "more than 8 bits, and the model was trained on none"
    assert any(doubt in message for message in caplog.messages)
    caplog.clear()
    assert detector.explain(tmp_path / "deep.png").reason == table.loc[0, columns.REASON]
    assert any(doubt in message for message in caplog.messages)


def test_bad_arguments_are_refused_in_one_line(detector: ImageDetector, folder: Path, array: np.ndarray) -> None:
    for call, expected in (
        (lambda: detector.score([]), r"^images: an empty list; give"),
        (lambda: detector.score([3]), r"^images: a list with int; give"),  # type: ignore[list-item]
        (lambda: detector.score(None), r"^images: NoneType; give"),  # type: ignore[arg-type]
        (lambda: detector.score(np.array(0, dtype=np.uint8)), r"^images: an array of shape \(\) has no pixel"),
        (lambda: detector.explain(array[0], n_nearest=-1), r"^n_nearest=-1: give 0 or more"),
        (lambda: detector.score(array, false_alarm_rate=0.0001), "calibration images"),
        (lambda: detector.score(array, false_alarm_rate=2), r"^false_alarm_rate=2: give a number between 0 and 1"),
        (lambda: detector.explain(folder / "none.png"), r"none\.png: not an image"),
        (lambda: detector.explain(folder / "absent.png"), r"absent\.png: No such file or directory; give an image"),
        (lambda: detector.explain([array[0], array[1]]), r"^images: 2 images; give one"),  # type: ignore[arg-type]
    ):
        with pytest.raises(GlowPipelineError, match=expected):
            call()


def test_detector_is_shown_in_a_line(detector: ImageDetector) -> None:
    assert repr(detector) == "ImageDetector(tiny, 1x8x8_4bit_resize, density_sum, 150 calibration images)"
