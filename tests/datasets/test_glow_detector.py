from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import GlowDetectorDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.scores import SCORES


def dataset(folder: Path, day: int) -> GlowDetectorDataset:
    """The catalog's entry in the run of that day."""
    return GlowDetectorDataset(
        filepath=str(folder / "glow_detector.safetensors"), version=Version(None, f"2026-01-{day:02}T00.00.00.000Z")
    )


def made(draws: int) -> Detector:
    return Detector({"nll": SCORES["nll"]}, {"nll": np.zeros(2)}, DetectorRecord(model_sha256="abc", draws=draws))


def test_newest_detector_is_loaded(tmp_path: Path) -> None:
    assert not dataset(tmp_path, 1).exists()
    for day in (1, 2):
        dataset(tmp_path, day).save(made(draws=day))
    later = dataset(tmp_path, 3)
    assert later.exists()
    assert later.load().record == later.record() == made(draws=2).record
    assert later.filepath == tmp_path / "glow_detector.safetensors"
    assert [path.parent.name[:10] for path in later.files] == ["2026-01-02", "2026-01-01"]


def test_chosen_file_is_loaded(tmp_path: Path) -> None:
    for day in (1, 2):
        dataset(tmp_path, day).save(made(draws=day))
    entry = dataset(tmp_path, 3)
    entry.choose(entry.files[-1])
    assert entry.load().record.draws == entry.record().draws == 1


def test_detector_without_file_is_returned(tmp_path: Path) -> None:
    entry, none = dataset(tmp_path, 1), Detector.without_scores("abc")
    entry.choose(none)
    assert entry.exists()
    assert entry.load() is none
    assert entry.record() == none.record


def test_saved_detector_replaces_the_chosen_one(tmp_path: Path) -> None:
    entry = dataset(tmp_path, 1)
    entry.choose(Detector.without_scores("abc"))
    entry.save(made(draws=5))
    assert entry.load().record.draws == 5


def test_damaged_detector_is_named(tmp_path: Path) -> None:
    entry = dataset(tmp_path, 1)
    entry.save(made(draws=1))
    entry.load_path.write_bytes(entry.load_path.read_bytes()[:100])
    with pytest.raises(GlowPipelineError, match="not a complete safetensors file"):
        entry.record()
    with pytest.raises(DatasetError, match="not a complete safetensors file"):
        entry.load()
