"""Results of `kedro run --pipeline search`, with the real configuration and tiny models."""

import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.flow import Glow
from glow_pipeline.hooks import RunHook
from glow_pipeline.pipeline_registry import register_pipelines
from glow_pipeline.search import trial_training
from glow_pipeline.search.heartbeats import Heartbeats
from glow_pipeline.training.model_file import read_record
from glow_pipeline.training.reporter import TrialReporter
from glow_pipeline.training.task import TrainingTask
from tests.project import TINY, copy_project, run, versions

RANGES: dict[str, Any] = {
    "train.lr": {"low": 1e-3, "high": 1e-2, "log": True},
    "model.K": {"low": 1, "high": 2, "step": 1},
    "model.hidden_channels": {"choices": [4, 8]},
}
RATES: dict[str, Any] = {"low": None, "high": None, "log": None}  # null: not those of conf/base
EPOCHS = 2


def search(project: Path, n_trials: int, **given: Any) -> pd.DataFrame:
    group = {"n_trials": n_trials, "ranges": RANGES, "warmup_epochs": 0, "startup_trials": 2, **given}
    model = {"K": 1, "L": 2, "hidden_channels": 4}  # where they are not searched
    run(project, "search", search=group, model=model, train={**TINY["train"], "n_epochs": EPOCHS}, device="cpu")
    return pd.read_parquet(versions(project, "08_reporting/digits/search_results.parquet/*/*")[-1])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("searched"))
    search(project, 4)
    return project


@pytest.fixture(scope="module")
def table(searched: Path) -> pd.DataFrame:
    return pd.read_parquet(versions(searched, "08_reporting/digits/search_results.parquet/*/*")[0])


def test_the_trials_are_in_a_table(table: pd.DataFrame) -> None:
    assert len(table) == 4
    assert set(table["state"]) <= {"complete", "pruned"}
    assert (table["state"] == "complete").sum() >= 2
    assert (table.loc[table["state"] == "complete", "epochs"] == EPOCHS).all()
    assert table["train.lr"].nunique() == 4
    assert table["model.K"].isin([1, 2]).all()
    assert table["val_bits_per_dim"].between(0, 8).all()


def test_search_draws_a_picture(searched: Path) -> None:
    with Image.open(versions(searched, "08_reporting/digits/search_history.png/*/*")[0]) as picture:
        assert picture.width > 300


def test_trials_are_runs_below_the_searchs_run(searched: Path, table: pd.DataFrame) -> None:
    with sqlite3.connect(searched / "mlflow.db") as database:
        (parent,) = database.execute("select run_uuid from runs where name like 'search digits%'").fetchone()
        trials = database.execute(
            "select name, status from runs join tags using (run_uuid) where key='mlflow.parentRunId' and value=?",
            (parent,),
        ).fetchall()
        assert sorted(trials) == [(f"trial {number}", "FINISHED") for number in range(4)]
        assert database.execute("select status from runs where run_uuid=?", (parent,)).fetchone() == ("FINISHED",)
        in_mlflow = database.execute(
            "select value from metrics join runs using (run_uuid) "
            "where key='val/bits_per_dim' and name='trial 0' order by step"
        ).fetchall()
    assert min(value for (value,) in in_mlflow) == pytest.approx(table["val_bits_per_dim"][0])
    assert len(in_mlflow) == EPOCHS


@pytest.mark.slow
def test_training_with_best_parameters_repeats_the_trial(searched: Path, table: pd.DataFrame) -> None:
    preset = searched / "conf" / "best"
    preset.mkdir()
    shutil.copy(versions(searched, "08_reporting/digits/best_parameters.yml/*/*")[0], preset / "parameters.yml")
    run(searched, "train", env="best", device="cpu")
    record = read_record(versions(searched, "06_models/digits/glow_model.safetensors/*/*.safetensors")[-1])
    best = table[table["state"] == "complete"]["val_bits_per_dim"].min()
    assert record.val_bits_per_dim == pytest.approx(best, abs=1e-6)


def test_same_command_resumes_its_search(searched: Path, table: pd.DataFrame) -> None:
    longer = search(searched, 5)
    assert len(longer) == 5
    pd.testing.assert_frame_equal(longer[:4], table)
    with sqlite3.connect(searched / "mlflow.db") as database:
        names = [name for (name,) in database.execute("select name from runs where name like '%search%'")]
        below = database.execute("select count(*) from tags where key='mlflow.parentRunId'").fetchone()
    (name,) = names  # it resumes its MLflow run
    assert name.startswith("search digits ")
    assert below == (5,)


def test_first_of_simultaneous_commands_owns_the_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy_project(tmp_path)
    search(project, 1)
    opened = RunHook._open_study

    def open_study(hook: RunHook, *run: Any) -> None:
        """When the second command started, the first had not yet recorded its run."""
        opened(hook, *run)

    monkeypatch.setattr(RunHook, "_open_study", open_study)
    search(project, 2)
    with sqlite3.connect(project / "mlflow.db") as database:
        commands = database.execute("select run_uuid from runs where name like 'search digits%' order by start_time")
        first, second = (run_id for (run_id,) in commands)
        above = database.execute("select value from tags where key='mlflow.parentRunId'").fetchall()
        database.execute("update runs set lifecycle_stage='deleted' where run_uuid=?", (first,))
    assert above == [(first,), (first,)]

    search(project, 3)
    with sqlite3.connect(project / "mlflow.db") as database:
        above = database.execute("select distinct value from tags where key='mlflow.parentRunId'").fetchall()
    assert len(above) == 2, "the first run is gone, so the third trial hangs below another"
    assert (second,) not in above


def test_stopped_trial_is_killed_and_queued_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object) -> float:
        raise TrainingStopped(5, 143)

    project = copy_project(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(trial_training, "train_trial", stops)
        with pytest.raises(SystemExit) as ended:
            search(project, 1)
    assert ended.value.code == 143
    with sqlite3.connect(project / "mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("KILLED",), ("KILLED",)]
    assert search(project, 1)["state"].tolist() == ["fail", "complete"]


@pytest.mark.slow
def test_no_trial_takes_the_checkpoint_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even of a trial that differs only in its length, and so in its warmup."""
    train: Callable[..., Any] = vars(trial_training)["train"]
    stopped: list[Path | None] = []

    def stop_once(task: TrainingTask, flow: Glow, reporter: TrialReporter) -> Any:
        def then_stop(epoch: int, bits_per_dim: float) -> bool:
            if not stopped:
                stopped.append(task.folder)
                raise TrainingStopped(1, 143)
            return reporter.epoch({"epoch": epoch, "val_bits_per_dim": bits_per_dim}, 0)

        return train(task, flow, TrialReporter(then_stop))

    fixed = dict.fromkeys(("train.lr", "model.K", "model.hidden_channels"))
    given = {"ranges": {**fixed, "train.n_epochs": {"choices": [1, 2]}}, "pruner": "none"}
    project = copy_project(tmp_path)
    monkeypatch.setattr(trial_training, "train", stop_once)
    monkeypatch.setattr(Heartbeats, "retry", lambda _self: lambda *_: None)  # as after a kill that was not noticed yet
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit):
        search(project, 2, **given)
    found = search(project, 2, **given)
    assert found["state"].tolist() == ["fail", "complete", "complete"]
    assert not [message for message in caplog.messages if message.startswith("Interrupted before")]
    with sqlite3.connect(project / "mlflow.db") as database:
        runs = database.execute("select status from runs where name like 'trial %' order by name").fetchall()
    assert runs == [("KILLED",), ("FINISHED",), ("FINISHED",)]
    trials = project / "data/06_models/digits/checkpoints/trials"
    (left,) = stopped
    assert left is not None
    assert list(trials.glob("*/*/*")) == [left], "from it the trial may still be resumed"


@pytest.mark.slow
def test_trials_of_several_processes_are_pruned(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    ranges = {**dict.fromkeys(("model.K", "model.hidden_channels")), "train.lr": {**RATES, "choices": [1e-12, 1e-2]}}
    model, train = {"K": 1, "L": 2, "hidden_channels": 4}, {**TINY["train"], "n_epochs": 2, "devices": 2}
    group = {"n_trials": 3, "ranges": ranges, "warmup_epochs": 0, "startup_trials": 1}
    run(project, "search", search=group, model=model, train=train, device="cpu")
    found = pd.read_parquet(versions(project, "08_reporting/digits/search_results.parquet/*/*")[-1])
    assert found["state"].isin(["complete", "pruned"]).all()
    assert found["state"][0] == "complete"
    assert (found["epochs"] == found["state"].map({"complete": 2, "pruned": 1})).all()
    assert (found["state"] == "pruned").any()
    with sqlite3.connect(project / "mlflow.db") as database:
        steps = database.execute(
            "select count(*) from metrics join runs using (run_uuid) where key='val/bits_per_dim' group by name"
        ).fetchall()
    assert [count for (count,) in steps] == found["epochs"].tolist()


def test_searching_and_training_in_one_command_split_once() -> None:
    pipelines = register_pipelines()
    both = pipelines["train"] + pipelines["search"]
    assert len([node for node in both.nodes if "fit_images" in node.outputs]) == 1


@pytest.mark.slow
def test_too_large_or_diverging_trials_continue_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_trial, calls = trial_training.train_trial, []

    def too_large(*given: Any) -> float:
        calls.append(given)
        if len(calls) == 1:
            raise torch.OutOfMemoryError
        return train_trial(*given)

    monkeypatch.setattr(trial_training, "train_trial", too_large)
    ranges = {**RANGES, "train.lr": {**RATES, "choices": [1e-3, 1e12]}, "train.max_skipped_steps": {"choices": [1]}}
    found = search(copy_project(tmp_path), 6, ranges=ranges)
    first = [found[column][0] for column in ("state", "val_bits_per_dim", "error")]
    assert first == ["diverged", float("inf"), trial_training.TOO_LARGE]
    later = found[1:]
    diverged = later[later["state"] == "diverged"]
    assert (later["state"].isin(["complete", "pruned", "diverged"])).all()
    assert set(diverged["train.lr"]) == {1e12}
    assert (diverged["val_bits_per_dim"] == float("inf")).all()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        states = database.execute(
            "select value from tags join runs using (run_uuid) where key='state' and status='FINISHED' order by name"
        ).fetchall()
    assert [state for (state,) in states] == found["state"].tolist()


@pytest.mark.slow
def test_incompatible_values_fail_only_their_trial(tmp_path: Path) -> None:
    ranges = {
        **dict.fromkeys(("train.lr", "model.K", "model.hidden_channels")),
        "model.flow_coupling": {"choices": ["affine", "additive"]},
        "model.scale_floor": {"low": 0.0, "high": 0.5},
        "train.batch_size": {"choices": [16, 128]},
        "train.accumulate": {"choices": [1, 32]},
    }
    project = copy_project(tmp_path)
    found = search(project, 3, ranges=ranges, pruner="none")
    assert (found["state"] == "complete").sum() == 3
    failed = found[found["state"] == "fail"]
    floors = failed[failed["model.flow_coupling"] == "additive"]
    parts = failed[failed["model.flow_coupling"] == "affine"]
    assert floors["error"].str.contains("an additive coupling has no scale").all()
    assert parts["error"].str.contains("batches of 16 images cannot be taken in 32 parts").all()
    assert len(floors)
    assert len(parts)
    assert len(floors) + len(parts) == len(found) - 3
    with sqlite3.connect(project / "mlflow.db") as database:
        runs = database.execute(
            "select name, status, value from runs left join tags on tags.run_uuid = runs.run_uuid and key='error' "
            "where name like 'trial %'"
        ).fetchall()
    columns = (found[column].tolist() for column in ("number", "state", "error"))
    expected = {
        (f"trial {number}", *(("FAILED", error) if state == "fail" else ("FINISHED", None)))
        for number, state, error in zip(*columns, strict=True)
    }
    assert set(runs) == expected
