import warnings
from pathlib import Path
from typing import Any

import pytest
from kedro.io import Version
from matplotlib.figure import Figure

from glow_pipeline.datasets import GlowModelDataset, ImageTableDataset, PictureDataset, WholeFileDataset
from glow_pipeline.datasets.versioned import OwnVersionDataset
from glow_pipeline.training.model_file import TrainedGlow
from tests.conftest import jittered_glow, model_record

NOW, LATER = "2026-01-01T00.00.00.000Z", "2030-01-01T00.00.00.000Z"


def metrics(folder: Path, version: str) -> WholeFileDataset:
    return WholeFileDataset(
        filepath=str(folder / "m.json"), dataset={"type": "json.JSONDataset"}, version=Version(None, version)
    )


def test_run_reads_back_its_own_version(tmp_path: Path) -> None:
    metrics(tmp_path, LATER).save({"whose": "another run's"})
    own = metrics(tmp_path, NOW)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Kedro warns where the versions differ
        own.save({"whose": "its own"})
    assert own.load() == {"whose": "its own"}
    assert own.resolve_load_version() == NOW


def test_newest_version_is_read_before_saving(tmp_path: Path) -> None:
    for version in (LATER, NOW):
        metrics(tmp_path, version).save({"of": version})
    assert metrics(tmp_path, "2031-01-01T00.00.00.000Z").load() == {"of": LATER}


@pytest.mark.parametrize("kind", [GlowModelDataset, ImageTableDataset, PictureDataset, WholeFileDataset])
def test_every_versioned_dataset_reads_back_its_own(kind: type[Any]) -> None:
    assert issubclass(kind, OwnVersionDataset)


def test_model_saved_beside_a_later_one_is_loaded(tmp_path: Path) -> None:
    for version, epochs in ((LATER, 9), (NOW, 2)):
        dataset = GlowModelDataset(filepath=str(tmp_path / "glow.safetensors"), version=Version(None, version))
        dataset.save(TrainedGlow(jittered_glow(), model_record().model_copy(update={"epochs": epochs})))
    assert dataset.load().record.epochs == dataset.record().epochs == 2


def test_picture_saved_beside_a_later_one_is_shown(tmp_path: Path) -> None:
    for version, width in ((LATER, 2), (NOW, 1)):
        dataset = PictureDataset(filepath=str(tmp_path / "p.png"), version=Version(None, version))
        dataset.save(Figure(figsize=(width, 1)))
    assert dataset.load().size == (120, 120)
