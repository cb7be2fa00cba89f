"""What Kedro-Viz shows of the entries of the catalog."""

import base64
import inspect
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import AbstractVersionedDataset, Version
from PIL import Image

from glow_pipeline.datasets import (
    FolderDataset,
    GlowDetectorDataset,
    GlowModelDataset,
    HTMLPageDataset,
    ImageTableDataset,
    ImageTablesDataset,
    WholeFileDataset,
    WrittenFolderDataset,
)
from glow_pipeline.datasets.previews import ROWS, html_preview, markdown_preview
from glow_pipeline.datasets.written_folder import SHOWN
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.training.model_file import TrainedGlow
from tests.conftest import MakeTable, jittered_glow, model_record, random_images
from tests.project import copy_project, session

KINDS = {"TablePreview", "ImagePreview", "JSONPreview", "HTMLPreview"}
VERSION = Version(None, "2026-01-01T00.00.00.000Z")
TABLE = pd.DataFrame({"file": [None, *(f"{i}.png" for i in range(30))], "p": [float("nan"), *([1 / 3] * 30)]})


def whole_file(folder: Path, kind: str, name: str = "made") -> WholeFileDataset:
    return WholeFileDataset(filepath=str(folder / name), dataset={"type": kind}, version=VERSION)


def kind_of(entry: Any) -> str:
    return str(inspect.signature(entry.preview).return_annotation.__name__)


def picture(preview: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(preview)))


def test_every_stored_entry_has_a_silent_preview(tmp_path: Path) -> None:
    """Nothing is made yet, and Kedro-Viz warns of previews that fail."""
    with session(copy_project(tmp_path)) as created:
        catalog = created.load_context().catalog
        entries = {name: catalog[name] for name in catalog if isinstance(catalog[name], AbstractVersionedDataset)}
    assert len(entries) > 20
    assert {name for name, entry in entries.items() if kind_of(entry) not in KINDS} == set()
    assert {name for name, entry in entries.items() if entry.preview() is not None} == set()


@pytest.mark.parametrize("kind", ["pandas.CSVDataset", "pandas.ParquetDataset"])
def test_tables_show_their_first_rows(tmp_path: Path, kind: str) -> None:
    entry = whole_file(tmp_path, kind)
    entry.save(TABLE)
    shown = entry.preview()
    assert kind_of(entry) == "TablePreview"
    assert [row[-1] for row in shown["data"]] == ["", *[0.33333] * (ROWS - 1)]
    assert [row[-2] for row in shown["data"]][:2] == ["", "0.png"]
    assert json.loads(json.dumps(shown)) == shown


def test_empty_parquet_table_shows_its_columns(tmp_path: Path) -> None:
    entry = whole_file(tmp_path, "pandas.ParquetDataset")
    entry.save(TABLE.head(0))
    assert entry.preview()["columns"] == ["file", "p"]


def test_metrics_show_as_json(tmp_path: Path) -> None:
    entry = whole_file(tmp_path, "glow_pipeline.datasets.StrictJSONDataset")
    entry.save({"auroc": 0.5})
    assert kind_of(entry) == "JSONPreview"
    assert json.loads(entry.preview()) == {"auroc": 0.5}


def test_parameters_show_as_json(tmp_path: Path) -> None:
    entry = whole_file(tmp_path, "text.TextDataset", "best_parameters.yml")
    entry.save("a: {b: 1} # a comment\n")
    assert kind_of(entry) == "JSONPreview"
    assert json.loads(entry.preview()) == {"a": {"b": 1}}


def test_names_in_a_page_keep_their_underscores() -> None:
    page = "<style>a_b { }</style><p class='a_b'>file\n1_2_3.png is <b>*new*</b></p>"
    assert html_preview(page) == "<style>a_b { }</style><p class='a_b'>file `1_2_3.png` is <b>`*new*`</b></p>"


def test_card_shows_without_metadata_and_pictures() -> None:
    shown = markdown_preview("---\nlicense: mit\n---\n# Glow\n\n![samples](samples.png)\n\nof my_digits\n")
    assert " ".join(shown.split()) == "<h1>Glow</h1> <p>of `my_digits`</p>"


@pytest.mark.parametrize("kind", ["pickle.PickleDataset", "text.TextDataset"])
def test_other_files_have_no_preview(tmp_path: Path, kind: str) -> None:
    assert not hasattr(whole_file(tmp_path, kind), "preview")


def test_page_that_is_not_made_shows_nothing(tmp_path: Path) -> None:
    assert HTMLPageDataset(filepath=str(tmp_path / "page.html"), version=VERSION).preview() is None


def test_model_shows_its_record(tmp_path: Path) -> None:
    entry = GlowModelDataset(filepath=str(tmp_path / "glow.safetensors"), version=VERSION)
    entry.save(TrainedGlow(jittered_glow(), model_record()))
    shown = json.loads(entry.preview())
    assert shown["dataset"] == model_record().dataset
    assert shown["flow"] == model_record().flow


def test_detector_shows_its_record(tmp_path: Path) -> None:
    entry = GlowDetectorDataset(filepath=str(tmp_path / "detector.safetensors"), version=VERSION)
    entry.save(Detector({"nll": SCORES["nll"]}, {"nll": np.zeros(2)}, DetectorRecord(model_sha256="a", draws=3)))
    shown = json.loads(entry.preview())
    assert (shown["scores"], shown["draws of the noise"]) == (["nll"], 3)


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(20), 4)


def test_image_table_shows_images(table: ImageTable, tmp_path: Path) -> None:
    entry = ImageTableDataset(filepath=str(tmp_path / "tiny" / "train"), version=VERSION)
    assert entry.preview() is None  # without an image format, as in `kedro viz run` without hooks
    entry.identify(table.record.image_format)
    path = Path(entry._get_save_path())
    path.parent.mkdir(parents=True)
    table.folder.rename(path)
    shown = np.array(picture(entry.preview()).convert("L"))
    assert min(shown.shape) > 100
    assert len(np.unique(shown)) > 10


def test_tables_of_all_sources_are_listed(table: ImageTable, tmp_path: Path) -> None:
    entry = ImageTablesDataset(filepath=str(tmp_path / "primary"), version=VERSION)
    place = tmp_path / "primary" / "tiny" / table.record.image_format.key / "train" / "v1" / "train"
    place.parent.mkdir(parents=True)
    table.folder.rename(place)
    shown = entry.preview()
    assert shown["columns"] == ["images", "split", "format", "count"]
    assert [row[-1] for row in shown["data"]] == [len(table)]


def test_folder_shows_its_first_pictures(tmp_path: Path) -> None:
    entry = WrittenFolderDataset(filepath=str(tmp_path / "maps"), version=VERSION)
    folder = Path(entry._get_save_path())
    folder.mkdir(parents=True)
    assert entry.preview() is None
    for number in range(SHOWN + 2):
        Image.new("L", (8, 8)).save(folder / f"{number}.png")
    assert picture(entry.preview()).size == (8, SHOWN * 12 - 4)


def test_folder_of_sources_shows_names(tmp_path: Path) -> None:
    entry = FolderDataset(filepath=str(tmp_path / "raw"))
    assert entry.preview() is None
    (tmp_path / "raw" / "MNIST").mkdir(parents=True)
    (tmp_path / "raw" / "a.zip").touch()
    assert entry.preview()["data"] == [["MNIST/"], ["a.zip"]]
