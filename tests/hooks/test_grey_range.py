"""The range of a run's deep images: decided once, kept in the model's record, applied to whatever comes later."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.images.table import ImageTable
from glow_pipeline.training.model_file import read_record
from tests.hooks.helpers import refused
from tests.project import TINY, copy_project, run, versions


def pictures(folder: Path, top: int, count: int = 20) -> Path:
    """Grey images of 16 bits with values from 0 to `top`."""
    folder.mkdir()
    for seed in range(count):
        values = np.random.default_rng(seed).integers(0, top + 1, (8, 8))
        values[0, :2] = 0, top
        Image.fromarray(values.astype(np.uint16)).save(folder / f"{seed:02}.png")
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model of the 12-bit images in its folder `scans`."""
    project = copy_project(tmp_path_factory.mktemp("deep"))
    pictures(project / "scans", 4000)
    run(project, "train", **of_scans(project), **TINY)
    return project


def of_scans(project: Path, **ingest: object) -> dict[str, Any]:
    return {"dataset": "folder", "ingest": {"path": str(project / "scans"), "size": 8, "channels": 1, **ingest}}


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return our own warnings."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("glow_pipeline") and record.levelno == logging.WARNING
    ]


def out_table(project: Path) -> ImageTable:
    (table,) = versions(project, "03_primary/*out*/*/test/*/test")
    return ImageTable(table)


def test_range_of_training_is_in_record_and_path(scans: Path) -> None:
    (model,) = versions(scans, "06_models/folder_scans/glow_model.safetensors/*/*.safetensors")
    assert read_record(model).image_format.range == (0, 4095)
    (table,) = versions(scans, "03_primary/folder_scans/1x8x8_8bit_resize_range0-4095/train/*/train")
    written = ImageTable(table)
    values = np.asarray(Image.open(scans / "scans" / (written.names or [])[0])).astype(np.float64)
    assert np.array_equal(written[:1][0][0, 0].numpy(), np.rint(values / 4095 * 255))
    assert written.record.findings.deep == len(written)
    assert (written.record.findings.clipped, written.record.findings.highest) == (0, 4000)


def test_later_images_are_scaled_as_in_training(scans: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = pictures(scans / "out_wide", 65535, count=5)
    with caplog.at_level(logging.INFO):
        run(scans, "ood", **of_scans(scans), out_dataset="folder", ood={"out_path": str(out)})
    table = out_table(scans)
    assert table.record.image_format.key == "1x8x8_8bit_resize_range0-4095"
    clipped = table.record.findings.clipped / table.record.findings.deep_values
    assert clipped > 0.8
    expected = f"{clipped:.1%} are outside the range 0-4095 and were clipped"
    assert [expected in line for line in warned(caplog)] == [True]


def test_another_range_than_the_models_is_refused(scans: Path) -> None:
    line = refused(scans, "sample", **of_scans(scans, range="0-65535"))
    assert "ingest.range=0-65535: the stored model" in line
    run(scans, "sample", **of_scans(scans, range="0-4095"))


def test_same_command_has_the_same_range(scans: Path) -> None:
    run(scans, "ingest", **of_scans(scans))
    tables = {path.parts[-4] for path in versions(scans, "03_primary/folder_scans/*/train/*/train")}
    assert tables == {"1x8x8_8bit_resize_range0-4095"}


def test_range_of_first_deep_images_is_reported(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The model was trained on images of no more than 8 bits."""
    out = pictures(trained / "out_deep", 900, count=5)
    with caplog.at_level(logging.WARNING, logger="glow_pipeline"):
        run(trained, "ood", out_dataset="folder", ood={"out_path": str(out)})
    assert [f"{out}: 5 images have more than 8 bits" in line for line in warned(caplog)] == [True]
    assert out_table(trained).record.image_format.key == "1x16x16_4bit_pad_range0-1023"
    run(trained, "ood", out_dataset="folder", ood={"out_path": str(out)}, ingest={"range": "0-2047"})
    specs = {path.parts[-4] for path in versions(trained, "03_primary/*out_deep*/*/test/*/test")}
    assert specs == {"1x16x16_4bit_pad_range0-1023", "1x16x16_4bit_pad_range0-2047"}
