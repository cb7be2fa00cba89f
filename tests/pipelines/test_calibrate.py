"""The pipeline calibrate: a new detector of a stored model, from its training's images or from a folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.outliers.scores.score import FittedScore
from glow_pipeline.parameters import CalibrateParameters
from glow_pipeline.pipelines.calibrate.nodes import select_parts
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import TrainedGlow, read_model
from tests.conftest import MakeTable, jittered_glow, model_record, random_images
from tests.project import run, versions

FOLDER = CalibrateParameters(path="mine")
DETECTORS = "06_models/digits/glow_detector.safetensors/*/*"
MODELS = "06_models/digits/glow_model.safetensors/*/*.safetensors"
FITTED: dict[str, Any] = {"ood": {"scores": ["typicality"], "score": "typicality"}}


def model(trained_on: np.ndarray | None) -> TrainedGlow:
    return TrainedGlow(jittered_glow(), model_record(), trained_on)


def test_halves_of_a_folder_leave_out_training_images(make_table: MakeTable) -> None:
    table = make_table(random_images(100), 4)
    hashes = table.content_hashes
    val, calibration, left_out = select_parts(model(hashes[:10]), table, FOLDER, 0)
    assert left_out == 10
    assert np.array_equal(np.sort([*val.rows, *calibration.table.rows]), np.arange(10, 100))
    assert 25 < len(val) < 65


def test_copies_are_in_one_half(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    table = make_table(torch.cat([random_images(30)] * 2), 4)
    val, calibration, _ = select_parts(model(np.empty(0, np.int64)), table, FOLDER, 0)
    assert not set(val.content_hashes) & set(calibration.table.content_hashes)
    assert len(val) + len(calibration) == 60
    assert "30 of its 60 images are exact copies of others of them" in caplog.text


def test_halves_do_not_depend_on_other_images(make_table: MakeTable) -> None:
    table = make_table(random_images(60), 4)
    none = np.empty(0, np.int64)
    every, _, _ = select_parts(model(none), table, FOLDER, 0)
    some, _, _ = select_parts(model(none), table.subset(np.arange(20, 60)), FOLDER, 0)
    assert set(some.rows) == set(every.rows) - set(range(20))
    other, _, _ = select_parts(model(none), table, FOLDER, 1)
    assert set(other.rows) != set(every.rows)


def test_folder_of_training_images_is_refused(make_table: MakeTable) -> None:
    table = make_table(random_images(5), 4)
    refusal = r"^calibrate\.path=mine: 1 different image that the model was not trained on; "
    with pytest.raises(GlowPipelineError, match=refusal):
        select_parts(model(table.content_hashes[:4]), table, FOLDER, 0)


def write_folder(folder: Path, table: ImageTable, rows: slice) -> None:
    folder.mkdir()
    images, _ = table[rows]
    for i, image in enumerate(images * 17):  # of 4 bits
        Image.fromarray(image[0].numpy()).save(folder / f"{i:04}.png")


def newest(project: Path) -> Path:
    return versions(project, DETECTORS)[-1]


def test_new_detector_of_the_same_images_is_equal(digits_project: Path) -> None:
    (made_by_training,) = versions(digits_project, DETECTORS)
    run(digits_project, "calibrate", "digits", seed=0, train={"threads": 1})
    first, again = read_detector(made_by_training), read_detector(newest(digits_project))
    assert newest(digits_project) != made_by_training
    assert first.scores.keys() == again.scores.keys() == first.calibration.keys()
    for name, score in first.scores.items():
        assert np.array_equal(first.calibration[name], again.calibration[name])
        other = again.scores[name]
        if isinstance(score, FittedScore):
            assert isinstance(other, FittedScore)
            assert {key: array.tolist() for key, array in score.fitted.items()} == {
                key: array.tolist() for key, array in other.fitted.items()
            }
    own = {"provenance", "parameters"}
    assert first.record.model_dump(exclude=own) == again.record.model_dump(exclude=own)
    assert again.record.provenance.kedro_session == newest(digits_project).parent.name


def test_record_leads_back_to_model_and_images(digits_project: Path) -> None:
    (path,), (trained,) = versions(digits_project, DETECTORS), versions(digits_project, MODELS)
    record = read_detector(path).record
    assert record.model_sha256 == stored_weights_sha256(trained)
    assert record.model_session == trained.parent.name == path.parent.name == record.provenance.kedro_session
    assert record.provenance.mlflow_run_id is not None
    assert record.parameters["model"]["hidden_channels"] == 8
    assert (record.n_validation, record.n_calibration, record.validation.table_count) == (75, 75, 1500)
    assert record.validation.origin is not None
    assert list(record.validation.origin.source_files) == ["digits.csv.gz"]
    stored = read_model(trained)
    assert stored.trained_on is not None
    detector = read_detector(path)
    assert np.isin(detector.validation_hashes, stored.trained_on).all()


def test_folder_calibrates_a_model_without_its_images(digits_project: Path, tmp_path: Path) -> None:
    """A model made elsewhere: neither its training images nor its detector are here."""
    test = versions(digits_project, "03_primary/digits/*/test/*/test")[0]
    train = versions(digits_project, "03_primary/digits/*/train/*/train")[0]
    folder = tmp_path / "mine"
    write_folder(folder, ImageTable(test), slice(0, 120))
    (extra,) = ImageTable(train)[slice(0, 1)][0] * 17
    stored = read_model(versions(digits_project, MODELS)[0])
    assert stored.trained_on is not None
    Image.fromarray(extra[0].numpy()).save(folder / "copy.png")
    copies = int(np.isin(ImageTable(train).content_hashes[:1], stored.trained_on).sum())
    elsewhere = tmp_path / "elsewhere.safetensors"
    shutil.copy(versions(digits_project, MODELS)[0], elsewhere)
    for made in ("03_primary", "06_models", "07_model_output", "08_reporting"):
        shutil.rmtree(digits_project / "data" / made)
    typed: dict[str, Any] = {"stored_model": str(elsewhere)}
    run(digits_project, "calibrate", "digits", calibrate={"path": str(folder)}, **typed)
    assert not versions(digits_project, "03_primary/digits/**/*.npy")
    detector = read_detector(newest(digits_project))
    assert detector.record.n_validation + detector.record.n_calibration == 121 - copies
    assert detector.record.copies_left_out == copies
    assert detector.record.parameters["calibrate"]["path"] == str(folder)
    run(digits_project, "ood", "digits", **typed, **FITTED)
    (metrics,) = versions(digits_project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")
    facts = json.loads(metrics.read_text())
    assert facts["detector_session"] == newest(digits_project).parent.name
    assert (facts["n_validation"], facts["n_calibration"]) == (
        detector.record.n_validation,
        detector.record.n_calibration,
    )


@pytest.mark.parametrize("pipeline", ["train", "ood", "sample"])
def test_other_pipelines_refuse_a_calibration_folder(digits_project: Path, tmp_path: Path, pipeline: str) -> None:
    with pytest.raises(click.ClickException, match=r"^calibrate\.path=.*: this command makes no detector from a"):
        run(digits_project, pipeline, "digits", calibrate={"path": str(tmp_path)})


def test_missing_calibration_folder_is_refused(digits_project: Path, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"^calibrate\.path=.*nowhere"):
        run(digits_project, "calibrate", "digits", calibrate={"path": str(tmp_path / "nowhere")})


def test_training_without_calibration_images_makes_a_detector(tmp_path: Path, digits_project: Path) -> None:
    tiny = {"model": {"K": 2, "L": 2, "hidden_channels": 8}, "train": {"n_epochs": 1, "warmup": 0.0}}
    run(digits_project, "train", "digits", ingest={"calibration_percentage": 0.0}, **tiny)
    detector = read_detector(newest(digits_project))
    assert detector.record.n_calibration == 0
    assert {len(values) for values in detector.calibration.values()} == {0}
    run(digits_project, "ood", "digits", **FITTED)
