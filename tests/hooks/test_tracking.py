import logging
from pathlib import Path
from typing import Any

import click
import mlflow
import pytest
from mlflow.entities import Dataset, Experiment, Run

from glow_pipeline.hooks.tracking import _say_where
from glow_pipeline.tracking.destination import Destination, TrackingConfig, destination
from glow_pipeline.tracking.runs import RunAddress
from tests.project import TINY, copy_project, run, versions


def runs(project: Path) -> list[Run]:
    """Newest first."""
    client = client_of(project)
    experiment = client.get_experiment_by_name("glow_pipeline")
    return list(client.search_runs([experiment.experiment_id])) if experiment is not None else []


def client_of(project: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def inputs_of(done: Run) -> dict[str, Dataset]:
    """The tables that a run read, by their names in the catalog."""
    assert done.inputs is not None
    return {tag.value: item.dataset for item in done.inputs.dataset_inputs for tag in item.tags}


def test_a_training_is_recorded_with_its_parameters_metrics_inputs_and_artifacts(trained: Path) -> None:
    done = runs(trained)[-1]
    assert (done.info.run_name, done.info.status) == ("train digits", "FINISHED")
    assert done.data.params["model.K"] == "2"
    assert done.data.params["ingest.fit"] == "pad"
    assert done.data.params["train.lr"] == "0.0002"
    for metric in ("train_bits_per_dim", "val_bits_per_dim", "images_per_second", "test_bits_per_dim"):
        assert done.data.metrics[metric] > 0
    client = client_of(trained)
    for metric in ("val_bits_per_dim", "test_bits_per_dim"):
        (point,) = client.get_metric_history(done.info.run_id, metric)
        assert point.step == 10, metric  # 1,350 images in batches of 128: the last of the only epoch
    inputs = inputs_of(done)
    assert inputs["train_images"].name == "digits train 1x16x16_4bit_pad"
    assert len(inputs["train_images"].digest) == 16
    figures = [artifact.path for artifact in client.list_artifacts(done.info.run_id, "figures")]
    assert figures == ["figures/dequantized_images.png", "figures/training_curves.png"]
    for tag in ("kedro_session", "dataset", "version.torch", "version.glow_pipeline", "mlflow.source.name"):
        assert tag in done.data.tags


def test_equal_tables_have_equal_digests_and_others_have_not(trained: Path) -> None:
    run(trained, "ood")
    run(trained, "ood")
    digests = [{name: table.digest for name, table in inputs_of(done).items()} for done in runs(trained)[:2]]
    assert digests[0] == digests[1]
    assert digests[0]["test_images"] != digests[0]["out_images"]


def test_scores_count_for_the_model_that_made_them(trained: Path) -> None:
    run(trained, "ood")
    scored = runs(trained)[0]
    assert scored.info.run_name == "ood digits vs textures"
    assert scored.data.tags["out_dataset"] == "textures"
    (model,) = client_of(trained).search_logged_models(
        [scored.info.experiment_id], filter_string=f"name='{scored.data.tags['model']}'"
    )
    assert model.source_run_id == runs(trained)[-1].info.run_id
    assert Path(trained / model.tags["path"]).is_file()
    assert {metric.key for metric in model.metrics or []} >= {"test_bits_per_dim", "auroc"}


def test_a_failed_run_is_recorded_as_failed_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("no such luck")

    project = copy_project(tmp_path)
    monkeypatch.setattr("glow_pipeline.pipelines.ingest.nodes.plan_table", broken)
    with pytest.raises(ValueError, match="no such luck"):
        run(project, "ingest")
    (done,) = runs(project)
    assert done.info.status == "FAILED"
    assert done.data.tags["error"] == "ValueError: no such luck"


def test_an_interrupted_run_is_recorded_as_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    project = copy_project(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("glow_pipeline.pipelines.ingest.nodes.plan_table", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(project, "ingest")
    assert [done.info.status for done in runs(project)] == ["KILLED"]


def test_an_address_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text("tracking_uri: sqlite:///pyproject.toml/in/a/file.db\n")
    with pytest.raises(click.ClickException, match=r"^mlflow.yml: tracking_uri=sqlite:///pyproject.toml/in/a/file.db"):
        run(project, "ingest")


def test_a_user_without_a_name_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    project = copy_project(tmp_path)
    monkeypatch.setattr("getpass.getuser", unknown)
    run(project, "ingest")
    (done,) = runs(project)
    assert done.info.status == "FINISHED"
    assert "mlflow.user" not in done.data.tags


def test_tracking_can_be_switched_off(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text("enabled: false\n")
    run(project, "train", **TINY)
    assert versions(project, "06_models/digits/glow_model.safetensors/*/*")
    assert not (project / "mlflow.db").exists()


def test_a_machine_that_only_helps_to_train_starts_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are left out; what one machine and another do before and after them is as it is."""
    monkeypatch.setattr("glow_pipeline.training.job.launch", lambda *_, **__: None)
    monkeypatch.setenv("NODE_RANK", "1")
    machines: dict[str, Any] = {"train": {"nodes": 2, "rendezvous": "127.0.0.1:1"}}
    helper = copy_project(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(helper, "train", **machines)
    assert ended.value.code == 0
    assert not (helper / "mlflow.db").exists()
    assert not list((helper / "data").glob("06_models/**/*"))
    run(helper, "ingest", **machines)
    assert [done.info.status for done in runs(helper)] == ["FINISHED"]


def test_a_project_that_was_moved_is_told_where_its_artifacts_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = copy_project(tmp_path)
    run(project, "ingest")
    assert "keeps its artifacts" not in caplog.text
    moved = project.rename(tmp_path.with_name(f"{tmp_path.name}_moved"))
    run(moved, "ingest")
    assert f"keeps its artifacts in {tmp_path.as_uri()}/mlartifacts, not in {moved.as_uri()}/mlartifacts" in caplog.text


@pytest.mark.parametrize(
    ("location", "given", "expected"),
    [
        ("mlflow-artifacts:/1", {"tracking_uri": "http://server"}, []),
        ("file:///other/mlartifacts", {"tracking_uri": "http://server"}, ["of whichever computer writes them"]),
        ("s3://bucket/1", {"tracking_uri": "http://server", "artifacts": "s3://bucket/2"}, ["since it was created"]),
        ("file:///other/mlartifacts", {"tracking_uri": "sqlite:////shared/mlflow.db"}, []),
        ("file:///project/mlartifacts", {}, []),
        ("file:///other/mlartifacts", {}, ["the project was moved or copied"]),
    ],
)
def test_unexpected_artifact_location_is_reported(
    location: str, given: dict[str, str], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    base = {"enabled": True, "tracking_uri": None, "experiment": None, "artifacts": None}
    project = Path("/project")
    place = destination(TrackingConfig.of({**base, **given}), project, {})
    experiment = Experiment("1", "glow_pipeline", location, "active")
    _say_where(experiment, place, RunAddress(place.tracking_uri, "a" * 32), project)
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == len(expected)
    assert all(part in message for part, message in zip(expected, warned, strict=True))


def test_server_address_is_shown_without_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    uri = "https://me:secret@server/mlflow/"
    place = Destination(uri, "glow_pipeline", None, True, "")
    experiment = Experiment("1", "glow_pipeline", "mlflow-artifacts:/1", "active")
    _say_where(experiment, place, RunAddress(uri, "a" * 32), Path("/project"))
    assert caplog.messages == [f"MLflow: https://me:***@server/mlflow/#/experiments/1/runs/{'a' * 32}"]
