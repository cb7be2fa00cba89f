"""The study that a command opens, and its records."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.search.study import MLFLOW_RUN, check_images, first_try, mlflow_run_of, open_study
from glow_pipeline.search.trial_runs import OnEpoch
from tests.conftest import model_record
from tests.search.helpers import RANGES, bits_of, opened, run_quickly, searching


def named(tmp_path: Path, **raw: Any) -> str:
    ranges = raw.pop("ranges", RANGES)
    return open_study(parse_parameters({"search": {"ranges": ranges}, **raw}), tmp_path).study_name


def test_parameters_decide_the_study(tmp_path: Path) -> None:
    first = named(tmp_path)
    assert first.startswith("digits-")
    same: list[dict[str, Any]] = [{}, {"train": {"num_workers": 3}}, {"train": {"lr": 0.5}}, {"ood": {"batch_size": 7}}]
    assert {named(tmp_path, **raw) for raw in same} == {first}
    other: list[dict[str, Any]] = [
        {"train": {"n_epochs": 3}},
        {"seed": 1},
        {"ingest": {"val_percentage": 20.0}},
        {"ingest": {"classes": "0-4"}},
        {"model": {"LU_decomposed": True}},
        {"ranges": {**RANGES, "model.K": {"low": 1, "high": 32}}},
        {"ranges": {**RANGES, "model.K": None}},
    ]
    assert len({named(tmp_path, **raw) for raw in other} | {first}) == len(other) + 1


def test_named_study_refuses_other_ranges(tmp_path: Path) -> None:
    opened(tmp_path, searching(3, study="mine"))
    opened(tmp_path, searching(9, study="mine", warmup_epochs=7))
    with pytest.raises(GlowPipelineError) as raised:
        opened(tmp_path, searching(study="mine", ranges={**RANGES, "model.K": None}))
    assert str(raised.value).startswith("search.study=mine: its trials were of another model.K, search.ranges.model.K;")


def test_mlflow_run_is_recorded(tmp_path: Path) -> None:
    assert mlflow_run_of(opened(tmp_path)) is None
    opened(tmp_path).set_user_attr(MLFLOW_RUN, "an id")
    assert mlflow_run_of(opened(tmp_path)) == "an id"


def test_trial_and_retries_share_a_unique_name(tmp_path: Path) -> None:
    named: list[tuple[int, str]] = []

    def interrupted_once(trial: optuna.Trial, parameters: Parameters, on_epoch: OnEpoch) -> float:
        named.append((trial.number, first_try(study, trial)))
        if len(named) in (1, 2):
            raise KeyboardInterrupt
        return bits_of(trial, parameters, on_epoch)

    for folder in ("one", "another"):
        study = opened(tmp_path / folder)
        for _ in range(2 if folder == "one" else 0):
            with pytest.raises(KeyboardInterrupt):
                run_quickly(study, searching(2), interrupted_once)
        run_quickly(study, searching(2), interrupted_once)
    (_, first), (_, second), (_, third), *others = named
    assert [number for number, _ in named] == [0, 1, 2, 3, 0, 1]
    assert first == second == third
    assert len({first, *(name for _, name in others)}) == 4


def test_other_images_are_refused(tmp_path: Path) -> None:
    study = opened(tmp_path)
    images = model_record().train_table.origin
    check_images(study, searching(), images)
    check_images(opened(tmp_path), searching(), images)
    with pytest.raises(
        GlowPipelineError, match=r"^search\.study=digits-\w+: .* \(source_files changed\); bring those back"
    ):
        check_images(opened(tmp_path), searching(), images.model_copy(update={"source_files": {"a.png": "2"}}))
