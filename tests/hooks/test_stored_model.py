"""The model that a run uses: its choice, its description and its record."""

import shutil
from pathlib import Path

import pytest

from glow_pipeline.training.model_file import TrainedGlow, read_model, write_model
from tests.hooks.helpers import refused, runs
from tests.project import copy_project, run, versions

UNFITTED = {"scores": ["nll"], "score": "nll"}  # for models without a detector


def newest(project: Path) -> Path:
    return versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")[-1]


def store(project: Path, version: str, model: TrainedGlow, **record: object) -> Path:
    """Store a model as if a run of that version had made it."""
    path = project / "data/06_models/digits/glow_model.safetensors" / version / "glow_model.safetensors"
    path.parent.mkdir(parents=True)
    provenance = model.record.provenance.model_copy(update={"kedro_session": version})
    changed = model.record.model_copy(update={"provenance": provenance, **record})
    write_model(path, changed, model.flow.state_dict(), model.trained_on)
    return path


@pytest.fixture
def project(tmp_path: Path, trained: Path) -> Path:
    """A project with two models: the older one is the better one."""
    model = read_model(newest(trained))
    project = copy_project(tmp_path / "project")
    store(project, "2026-01-01T00.00.00.000Z", model, val_bits_per_dim=2.5)
    store(project, "2026-01-02T00.00.00.000Z", model, val_bits_per_dim=3.5)
    return project


def closing(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_closing_lines_name_used_and_better_model(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(project, "sample")
    lines = closing(capsys)
    assert "Model 2026-01-02T00.00.00.000Z (the newest): digits, epoch 1 of 1, 3.5000 bits/dim" in lines
    assert "A better one of the same images: stored_model=2026-01-01T00.00.00.000Z, 2.5000 bits/dim" in lines


def test_model_is_chosen_by_version(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(project, "sample", stored_model="2026-01-01T00.00.00.000Z")
    lines = closing(capsys)
    assert "Model 2026-01-01T00.00.00.000Z (as chosen): digits" in lines
    assert "A better one" not in lines


def test_model_is_chosen_by_file_of_another_place(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copy(
        versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")[0], tmp_path / "mine.safetensors"
    )
    shutil.rmtree(project / "data/06_models")
    run(project, "sample", stored_model=str(copied))
    assert "Model 2026-01-01T00.00.00.000Z (as chosen)" in closing(capsys)
    assert len(versions(project, "07_model_output/digits/samples_normal.png/*/*")) == 1


def test_sampling_reads_no_images(project: Path) -> None:
    run(project, "sample", sample={"mode": "vtemp", "frames": 2, "n": 1})
    assert versions(project, "03_primary/**/*.npy") == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"stored_model": "2020"}, "glow_model:2020: no such version; there are 2026-01-02T"),
        ({"stored_model": "nowhere.safetensors"}, "stored_model=nowhere.safetensors: no such file"),
        ({"stored_model": "2020", "dataset": "mnist"}, "dataset=mnist: no trained model of it yet"),
    ],
)
def test_model_that_does_not_exist_is_one_line(project: Path, typed: dict[str, object], said: str) -> None:
    assert refused(project, "sample", **typed).startswith(said)


def test_model_of_another_dataset_says_what_to_type(project: Path) -> None:
    line = refused(project, "ood", dataset="mnist", stored_model=str(newest(project)))
    assert "a model of digits, and this command is about mnist; add dataset=digits to --params" in line


@pytest.mark.parametrize("pipeline", ["train", "ingest", "search"])
def test_command_that_uses_no_model_refuses_one(project: Path, pipeline: str) -> None:
    line = refused(project, pipeline, stored_model="2026-01-01T00.00.00.000Z")
    assert line.startswith("stored_model=2026-01-01T00.00.00.000Z: this command uses no stored model")


def test_mlflow_lists_the_parameters_of_the_scored_model(project: Path) -> None:
    run(project, "ood", ood={"batch_size": 99, **UNFITTED}, seed=3)
    params = runs(project)[0].data.params
    assert params["model.K"] == "2", "the model's own; the default is 8"
    assert (params["train.n_epochs"], params["ingest.fit"], params["ingest.size"]) == ("1", "pad", "16")
    assert (params["ood.batch_size"], params["seed"], params["trained.seed"]) == ("99", "3", "0")
    assert params["stored_model"] == "2026-01-02T00.00.00.000Z"


def test_trained_model_lists_the_commands_own_parameters(trained: Path) -> None:
    params = runs(trained)[-1].data.params
    assert params["stored_model"] == "None"
    assert "trained.seed" not in params


def test_model_judged_otherwise_is_not_called_better(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = read_model(newest(project))
    ingest = {**model.record.parameters["ingest"], "val_percentage": 20.0}
    store(
        project,
        "2025-01-01T00.00.00.000Z",
        model,
        val_bits_per_dim=0.5,
        flow={**model.record.flow, "y_condition": True},
    )
    parameters = {**model.record.parameters, "ingest": ingest}
    store(project, "2025-01-02T00.00.00.000Z", model, val_bits_per_dim=0.6, parameters=parameters)
    ingest = {**model.record.parameters["ingest"], "calibration_percentage": 0.0}
    parameters = {**model.record.parameters, "ingest": ingest}
    store(project, "2025-01-03T00.00.00.000Z", model, val_bits_per_dim=0.7, parameters=parameters)
    run(project, "sample")
    assert "A better one of the same images: stored_model=2026-01-01T00.00.00.000Z" in closing(capsys)


def test_mlflow_lists_the_commands_own_parameters(project: Path) -> None:
    run(project, "ood", ingest={"max_pixels": 10**8}, train={"threads": 1}, ood=UNFITTED)
    params = runs(project)[0].data.params
    assert (params["ingest.max_pixels"], params["train.threads"], params["model.K"]) == ("100000000", "1", "2")
