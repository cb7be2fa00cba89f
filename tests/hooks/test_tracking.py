"""The MLflow record of a run."""

from pathlib import Path
from typing import Any

import click
import pytest

from glow_pipeline.errors import TrainingStopped
from tests.hooks.helpers import RaisesInsteadOf, client_of, inputs_of, run_with, runs
from tests.project import TINY, TRAINING_FIGURES, copy_project, run, versions


def test_training_is_recorded_with_everything(trained: Path) -> None:
    done = runs(trained)[-1]
    assert (done.info.run_name, done.info.status) == (
        "train digits K=2 L=2 hidden_channels=8 size=16 fit=pad n_epochs=1 warmup=0.0",
        "FINISHED",
    )
    assert done.data.params["model.K"] == "2"
    assert done.data.params["ingest.fit"] == "pad"
    assert done.data.params["train.lr"] == "0.0002"
    for metric in ("train/bits_per_dim", "val/bits_per_dim", "train/images_per_second", "test/bits_per_dim"):
        assert done.data.metrics[metric] > 0
    client = client_of(trained)
    for metric in ("val/bits_per_dim", "test/bits_per_dim"):
        (point,) = client.get_metric_history(done.info.run_id, metric)
        assert point.step == 10, metric  # 1,350 images in batches of 128: the last of the only epoch
    inputs = inputs_of(done)
    assert inputs["train_images"].name == "digits train 1x16x16_4bit_pad"
    assert len(inputs["train_images"].digest) == 16
    figures = [file.path for file in client.list_artifacts(done.info.run_id) if not file.is_dir]
    assert [Path(figure).stem for figure in figures] == TRAINING_FIGURES
    images = {file.path.partition("+timestamp")[0] for file in client.list_artifacts(done.info.run_id, "images")}
    assert images == {
        *(f"images/figures~{name}+step+0" for name in TRAINING_FIGURES),
        "images/samples~by_epoch+step+1",
    }
    for tag in ("kedro_session", "dataset", "version.torch", "version.glow_pipeline", "mlflow.source.name"):
        assert tag in done.data.tags


def test_training_has_description_pages_and_view(trained: Path) -> None:
    done, client = runs(trained)[-1], client_of(trained)
    note = done.data.tags["mlflow.note.content"]
    assert note.startswith("**Trains a Glow**: `digits`, 1,500 train images, 297 test images (1x16x16_4bit_pad, 10")
    assert "bits/dim on test images" in note
    (model,) = client.search_logged_models([done.info.experiment_id])
    assert f"#/experiments/{done.info.experiment_id}/models/{model.model_id}?" in note
    assert "kedro run --pipelines train --params " in note
    assert "model.K=2" in note
    tags = client.get_experiment(done.info.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "mlflow.sharedViewState.train-digits" in tags


def test_closing_lines_name_the_pages(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(trained, "ingest")
    run(trained, "ingest")
    newest, before = runs(trained)[:2]
    said = capsys.readouterr().out
    assert "Pages in MLflow, after `make ui`:" in said
    address = "http://127.0.0.1:5000/#/experiments/1/runs"
    assert f"{address}/{newest.info.run_id}?workflowType=machine_learning" in said
    assert f"runs=%5B%22{before.info.run_id}%22%2C%22{newest.info.run_id}%22%5D" in said


def test_scores_name_the_training_of_their_model(trained: Path) -> None:
    run(trained, "ood")
    note = runs(trained)[0].data.tags["mlflow.note.content"]
    assert f"[its training](#/experiments/1/runs/{runs(trained)[-1].info.run_id}?" in note
    assert "AUROC" in note


def test_digests_are_equal_for_equal_tables_only(trained: Path) -> None:
    run(trained, "ood")
    run(trained, "ood")
    digests = [{name: table.digest for name, table in inputs_of(done).items()} for done in runs(trained)[:2]]
    assert digests[0] == digests[1]
    assert digests[0]["test_images"] != digests[0]["out_images"]


def test_scores_count_for_their_model(trained: Path) -> None:
    run(trained, "ood")
    scored = runs(trained)[0]
    assert scored.info.run_name == "ood digits vs textures"
    assert scored.data.tags["out_dataset"] == "textures"
    (model,) = client_of(trained).search_logged_models(
        [scored.info.experiment_id], filter_string=f"name='{scored.data.tags['model']}'"
    )
    assert model.source_run_id == runs(trained)[-1].info.run_id
    assert Path(trained / model.tags["path"]).is_file()
    assert {metric.key for metric in model.metrics or []} >= {"test/bits_per_dim", "ood/auroc"}


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (ValueError("no such luck"), ValueError, "FAILED"),
        (KeyboardInterrupt(), KeyboardInterrupt, "KILLED"),
        (SystemExit(143), SystemExit, "KILLED"),
        (TrainingStopped(5, 130), SystemExit, "KILLED"),
        (TrainingStopped(5, 0), SystemExit, "FINISHED"),
    ],
    ids=repr,
)
def test_status_says_how_the_run_ended(
    tmp_path: Path, error: BaseException, raised: type[BaseException], status: str
) -> None:
    project = copy_project(tmp_path)
    with pytest.raises(raised):
        run_with(RaisesInsteadOf("ingest.ingest_test_images", error), project, "ingest")
    (done,) = runs(project)
    assert done.info.status == status
    assert done.data.tags.get("error") == ("ValueError: no such luck" if status == "FAILED" else None)


def test_unreachable_address_is_one_line(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text("tracking_uri: sqlite:///pyproject.toml/in/a/file.db\n")
    with pytest.raises(click.ClickException, match=r"^mlflow.yml: tracking_uri=sqlite:///pyproject.toml/in/a/file.db"):
        run(project, "ingest")


def test_user_without_a_name_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    project = copy_project(tmp_path)
    monkeypatch.setattr("getpass.getuser", unknown)
    run(project, "ingest")
    (done,) = runs(project)
    assert done.info.status == "FINISHED"
    assert "mlflow.user" not in done.data.tags


def test_tracking_can_be_switched_off(tmp_path: Path) -> None:
    project = copy_project(tmp_path, mlflow_used=False)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text("enabled: false\n")
    run(project, "train", **TINY)
    assert versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")
    assert not (project / "mlflow.db").exists()


def test_machine_that_only_helps_starts_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are left out; what one machine and another do before and after them is as it is."""
    monkeypatch.setattr("glow_pipeline.training.train.launch", lambda *_, **__: None)
    monkeypatch.setenv("NODE_RANK", "1")
    machines: dict[str, Any] = {"train": {"nodes": 2, "rendezvous": "127.0.0.1:1"}}
    helper = copy_project(tmp_path, mlflow_used=False)
    with pytest.raises(SystemExit) as ended:
        run(helper, "train", **machines)
    assert ended.value.code == 0
    assert not (helper / "mlflow.db").exists()
    assert not list((helper / "data").glob("06_models/**/*"))
    run(helper, "ingest", **machines)
    assert [done.info.status for done in runs(helper)] == ["FINISHED"]


def test_moved_project_logs_the_place_of_artifacts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = copy_project(tmp_path)
    run(project, "ingest")
    assert "keeps its artifacts" not in caplog.text
    moved = project.rename(tmp_path.with_name(f"{tmp_path.name}_moved"))
    run(moved, "ingest")
    assert f"keeps its artifacts in {tmp_path.as_uri()}/mlartifacts, not in {moved.as_uri()}/mlartifacts" in caplog.text
