"""The detector that a run uses: its choice, and the lines that refuse a run without one."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from glow_pipeline.outliers.detector_file import read_detector, write_detector
from tests.hooks.helpers import client_of, refused, runs
from tests.outliers.toy_scores import BrightnessDistance, registered
from tests.project import copy_project, kedro_run, run, versions

DETECTORS = "06_models/digits/glow_detector.safetensors/*/*"
MODELS = "06_models/digits/glow_model.safetensors/*/*.safetensors"
SCORED = "07_model_output/digits/vs_textures/ood_scores.parquet/*/*"
FITTED: dict[str, Any] = {"ood": {"scores": ["typicality"], "score": "typicality"}}
UNFITTED: dict[str, Any] = {"ood": {"scores": ["nll"], "score": "nll"}}


def detectors(project: Path) -> list[Path]:
    return versions(project, DETECTORS)


@pytest.fixture
def project(tmp_path: Path, trained: Path) -> Path:
    """A project with a model and its detector."""
    project = copy_project(tmp_path / "project")
    shutil.copytree(trained / "data" / "06_models", project / "data" / "06_models")
    return project


def changed(path: Path, version: str, **record: object) -> Path:
    """Store a detector under another version, with another record."""
    detector = read_detector(path)
    provenance = detector.record.provenance.model_copy(update={"kedro_session": version})
    other = path.parents[1] / version / path.name
    other.parent.mkdir()
    updated = detector.record.model_copy(update={"provenance": provenance, **record})
    write_detector(other, type(detector)(detector.scores, detector.calibration, updated))
    return other


def test_newest_detector_of_the_model_is_used(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own,) = detectors(project)
    changed(own, "2099-01-01T00.00.00.000Z", model_sha256="of another model")
    (own.parents[1] / "2099-01-02T00.00.00.000Z").mkdir()
    (own.parents[1] / "2099-01-02T00.00.00.000Z" / own.name).write_bytes(b"damaged")
    run(project, "ood", **FITTED)
    assert f"Detector {own.parent.name}: fitted on 75 images, calibrated with 75 others" in capsys.readouterr().out
    changed(own, "2099-01-03T00.00.00.000Z")
    run(project, "ood", **FITTED)
    assert "Detector 2099-01-03T00.00.00.000Z: fitted on 75" in capsys.readouterr().out


def test_detector_beside_the_models_file_is_used(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model,), (detector,) = versions(project, MODELS), detectors(project)
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    shutil.copy(model, beside / "mine.safetensors")
    shutil.copy(changed(detector, "elsewhere"), beside / detector.name)
    shutil.rmtree(project / "data" / "06_models")
    run(project, "ood", stored_model=str(beside / "mine.safetensors"), **FITTED)
    assert "Detector elsewhere: fitted on 75" in capsys.readouterr().out


def test_later_detector_comes_before_the_one_beside(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model,), (detector,) = versions(project, MODELS), detectors(project)
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    shutil.copy(model, beside / "mine.safetensors")
    shutil.copy(detector, beside / detector.name)
    changed(detector, "2099-01-03T00.00.00.000Z")  # as `calibrate` makes it
    run(project, "ood", stored_model=str(beside / "mine.safetensors"), **FITTED)
    assert "Detector 2099-01-03T00.00.00.000Z: fitted on 75" in capsys.readouterr().out


@pytest.mark.slow
def test_detector_of_another_projects_catalog_is_used(
    project: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project / "data" / "06_models")
    (model,), (detector,) = versions(trained, MODELS), detectors(trained)
    run(project, "ood", stored_model=str(model), **FITTED)
    assert f"Detector {detector.parent.name}: fitted on 75" in capsys.readouterr().out


def test_model_without_detector_says_what_to_type(project: Path) -> None:
    shutil.rmtree(detectors(project)[0].parents[1])
    assert refused(project, "ood", **FITTED) == (
        "ood.scores=typicality: these scores have to be fitted, and the model has no detector yet; type "
        "`kedro run --pipelines calibrate --params dataset=digits`"
    )
    (model,) = versions(project, MODELS)
    line = refused(project, "ood", stored_model=model.parent.name, **FITTED)
    assert line.endswith(f"dataset=digits,stored_model={model.parent.name}`")


def test_unfitted_scores_need_no_detector(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (detector,) = detectors(project)
    run(project, "ood", **UNFITTED)
    shutil.rmtree(detector.parents[1])
    run(project, "ood", **UNFITTED)
    assert capsys.readouterr().out.count("Detector ") == 1
    with_detector, without = (pd.read_parquet(path) for path in versions(project, SCORED))
    assert with_detector.equals(without)


def test_score_not_fitted_is_refused(project: Path) -> None:
    version = detectors(project)[0].parent.name
    with registered(BrightnessDistance()):
        line = refused(project, "ood", ood={"scores": ["brightness_distance"], "score": None})
    assert line.startswith(f"ood.scores=brightness_distance: not fitted in detector {version} of this model; type")


def test_other_draws_are_refused(project: Path) -> None:
    version = detectors(project)[0].parent.name
    expected = (
        f"ood.draws=3: detector {version} was fitted with ood.draws=1; type `kedro run --pipelines calibrate --params "
        f"dataset=digits,ood.draws=3`"
    )
    assert refused(project, "ood", ood={**FITTED["ood"], "draws": 3}) == expected
    assert refused(project, "score", score={"images": __file__, "false_alarm_rate": 0.1}, ood={"draws": 3}) == expected


def test_other_codecs_refuse_scores_that_compress(project: Path) -> None:
    (own,) = detectors(project)
    compressing = "+".join(name for name, score in read_detector(own).scores.items() if score.compresses)
    assert "density_sum" in compressing
    changed(own, "2099-01-01T00.00.00.000Z", codecs={"png": "libpng 0.1"})
    line = refused(project, "ood", ood={"scores": ["density_sum"], "score": "density_sum"})
    assert line.startswith(
        "ood.scores=density_sum: detector 2099-01-01T00.00.00.000Z was fitted with compressed sizes by "
        "png (libpng 0.1), and here is png ("
    )
    assert line.endswith("--pipelines calibrate --params dataset=digits`")
    run(project, "ood", **FITTED)


def test_detector_is_chosen_by_version(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own,) = detectors(project)
    changed(own, "2099-01-01T00.00.00.000Z")
    changed(own, "2099-01-02T00.00.00.000Z", model_sha256="of another model", model_session="another")
    version = f"glow_detector:{own.parent.name}"
    typed = ("--pipelines", "ood", "--params", "ood.scores=typicality,ood.score=typicality")
    kedro_run(project, *typed, "--load-versions", version)
    assert f"Detector {own.parent.name}: fitted" in capsys.readouterr().out
    with pytest.raises(Exception, match="it is of model another, and not of the one in use"):
        kedro_run(project, *typed, "--load-versions", "glow_detector:2099-01-02T00.00.00.000Z")


def test_mlflow_names_the_detector(trained: Path, project: Path) -> None:
    (detector,) = detectors(trained)
    training = runs(trained)[-1]
    tags = training.data.tags
    assert tags["detector"] == detector.parent.name == tags["detector.model"]
    assert (tags["detector.n_validation"], tags["detector.n_calibration"]) == ("75", "75")
    record = client_of(trained).download_artifacts(training.info.run_id, "detector/record.json")
    assert read_detector(detector).record.model_dump_json(indent=2) == Path(record).read_text()
    run(project, "ood", **FITTED)
    assert runs(project)[0].data.tags["detector"] == detector.parent.name
