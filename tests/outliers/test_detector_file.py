"""Detectors in files, with scores as fitted as they can be by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector, DetectorRecord, UsedImages
from glow_pipeline.outliers.detector_file import (
    FORMAT,
    HEADER_KEY,
    read_detector,
    read_detector_record,
    write_detector,
)
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.score import FittedScore
from glow_pipeline.provenance import Provenance
from tests.conftest import MakeTable, random_images
from tests.outliers.toy_scores import BrightnessDistance, registered


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(5), 4)


@pytest.fixture
def detector(table: ImageTable) -> Detector:
    record = DetectorRecord(
        model_sha256="abc",
        model_session="monday",
        validation=UsedImages.of(table),
        calibration=UsedImages.of(table),
        seed=3,
        draws=2,
        codecs={"png": "pillow 1"},
        parameters={"seed": 3, "train": {"lr": 0.1}},
        provenance=Provenance(kedro_session="tuesday", git_commit="1f"),
    )
    fitted = BrightnessDistance(fitted={"mean": np.array([0.1, -np.inf]), "scale.of.it": np.ones((2, 3))})
    return Detector(
        {"nll": SCORES["nll"], fitted.name: fitted},
        {"nll": np.array([0.5, np.inf]), fitted.name: np.arange(2.0)},
        record,
        validation_hashes=np.array([-5, 7]),
        calibration_hashes=np.array([8]),
    )


@pytest.fixture
def written(tmp_path: Path, detector: Detector) -> Path:
    write_detector(tmp_path / "detector.safetensors", detector)
    return tmp_path / "detector.safetensors"


def test_detector_is_read_as_written(written: Path, detector: Detector) -> None:
    with registered(BrightnessDistance()):
        again = read_detector(written)
    assert again.record == detector.record
    assert list(again.scores) == list(detector.scores)
    stored, fitted = again.scores["brightness_distance"], detector.scores["brightness_distance"]
    assert isinstance(stored, BrightnessDistance)
    assert isinstance(fitted, FittedScore)
    assert stored.fitted.keys() == fitted.fitted.keys()
    assert all(np.array_equal(stored.fitted[name], array) for name, array in fitted.fitted.items())
    assert all(np.array_equal(again.calibration[name], values) for name, values in detector.calibration.items())
    assert np.array_equal(again.validation_hashes, detector.validation_hashes)
    assert np.array_equal(again.calibration_hashes, detector.calibration_hashes)


def test_equal_detectors_are_equal_bytes(written: Path, detector: Detector, tmp_path: Path) -> None:
    write_detector(tmp_path / "again.safetensors", detector)
    assert (tmp_path / "again.safetensors").read_bytes() == written.read_bytes()


def test_detector_without_calibration_images_is_stored(tmp_path: Path, detector: Detector) -> None:
    empty = {name: np.empty(0) for name in detector.calibration}
    write_detector(tmp_path / "empty.safetensors", replace(detector, calibration=empty))
    with registered(BrightnessDistance()):
        assert [len(values) for values in read_detector(tmp_path / "empty.safetensors").calibration.values()] == [0, 0]


def test_unregistered_score_is_left_out(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert list(read_detector(written).scores) == ["nll"]
    assert caplog.messages == [f"{written}: its score brightness_distance is not registered, and is left out"]


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Write the file with another record or other arrays."""
    with safe_open(path, framework="np") as file:
        header = json.loads((file.metadata() or {})[HEADER_KEY])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header, arrays)
    save_file(arrays, path, {HEADER_KEY: json.dumps(header)})


def one_line_about(path: Path) -> str:
    with pytest.raises(GlowPipelineError) as raised:
        read_detector(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "--pipelines calibrate" in message
    return message


@pytest.mark.parametrize("length", [0, 7, 500, -1])
def test_incomplete_file_is_refused(written: Path, length: int) -> None:
    written.write_bytes(written.read_bytes()[:length])
    assert "not a complete safetensors file" in one_line_about(written)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in one_line_about(tmp_path / "nothing.safetensors")


def test_other_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"weights": np.zeros(2)}, tmp_path / "other.safetensors")
    assert "without a detector's record" in one_line_about(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda header, _: header.update(format=FORMAT + 1), f"a detector of format {FORMAT + 1}"),
        (lambda header, _: header.pop("format"), "its record cannot be read ('format')"),
        (lambda header, _: header.pop("model_sha256"), "its record cannot be read (('model_sha256',))"),
        (lambda header, _: header.update(unknown=1), "its record cannot be read (('unknown',))"),
        (lambda _, arrays: arrays.pop("calibration.nll"), "has no array 'calibration.nll'"),
        (lambda _, arrays: arrays.pop("images.calibration"), "has no array 'images.calibration'"),
    ],
)
def test_record_or_array_at_fault_is_named(
    written: Path, change: Callable[[dict[str, Any], dict[str, Any]], None], problem: str
) -> None:
    rewritten(written, change)
    assert problem in one_line_about(written)


def test_record_is_read_without_arrays(written: Path, detector: Detector) -> None:
    record, scores = read_detector_record(written)
    assert record == detector.record
    assert scores == ["nll", "brightness_distance"]
