"""Trials that are interrupted, killed or silent."""

import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.parameters import Parameters
from glow_pipeline.search.trial_runs import OnEpoch
from tests.processes import comes
from tests.search.helpers import (
    IMPATIENT,
    QUICK,
    bits_of,
    opened,
    proposed,
    run_quickly,
    searching,
    start_search,
    states,
)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(143), TrainingStopped(7, 143)])
def test_interrupted_trial_is_queued_at_once(tmp_path: Path, interruption: BaseException) -> None:
    parameters = searching(2)
    study = opened(tmp_path, parameters)

    def interrupted(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        bits_of(trial, parameters, on_epoch)
        raise interruption

    with pytest.raises(type(interruption)):
        run_quickly(study, parameters, interrupted)
    assert states(study) == ["FAIL", "WAITING"]
    started = time.monotonic()
    run_quickly(study, parameters, bits_of)
    assert time.monotonic() - started < QUICK.grace
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    first, second, third = (trial.params for trial in study.trials)
    assert first == second != third


def test_trial_interrupted_while_pruned_is_pruned(tmp_path: Path) -> None:
    parameters = searching(3, pruner="median", startup_trials=1, warmup_epochs=0)
    study = opened(tmp_path, parameters)

    def worse_and_worse(trial: optuna.Trial, parameters: Parameters, on_epoch: OnEpoch) -> float:
        if any(on_epoch(epoch, trial.number + 1.0) for epoch in (1, 2, 3)):
            raise SystemExit
        return trial.number + 1.0

    with pytest.raises(SystemExit):
        run_quickly(study, parameters, worse_and_worse)
    assert states(study) == ["COMPLETE", "PRUNED"], "none is queued again"
    assert study.trials[1].last_step == 1


def test_killed_search_finishes_with_the_same_proposals(tmp_path: Path) -> None:
    process = start_search(tmp_path / "killed", 3, seconds=1000)
    assert comes(lambda: list((tmp_path / "killed").glob("running_*")))
    process.kill()
    process.join()
    killed, uninterrupted = opened(tmp_path / "killed", heartbeats=IMPATIENT), opened(tmp_path / "uninterrupted")
    assert states(killed) == ["RUNNING"]
    run_quickly(killed, searching(3), bits_of, heartbeats=IMPATIENT)
    run_quickly(uninterrupted, searching(3), bits_of)
    assert states(killed).count("FAIL") == 1
    assert states(killed).count("COMPLETE") == 3
    (again,) = (trial for trial in killed.trials if "failed_trial" in trial.system_attrs)
    assert again.params == killed.trials[0].params
    assert again.intermediate_values == killed.trials[0].intermediate_values != {}
    assert sorted(map(str, proposed(killed))) == sorted(map(str, proposed(uninterrupted)))


def test_trial_without_any_heartbeat_is_queued_again(tmp_path: Path) -> None:
    study = opened(tmp_path, heartbeats=IMPATIENT)
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.ask()
    run_quickly(study, searching(1), bits_of, heartbeats=IMPATIENT)
    assert states(study) == ["FAIL", "COMPLETE"]


def test_trial_that_kills_processes_is_given_up(tmp_path: Path) -> None:
    once = replace(QUICK, max_retries=1)
    parameters = searching(1)
    study = opened(tmp_path, parameters)

    def deadly(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        raise SystemExit

    for _ in range(2):
        with pytest.raises(SystemExit):
            run_quickly(study, parameters, deadly, heartbeats=once)
    assert states(study) == ["FAIL", "FAIL"]
    run_quickly(study, parameters, bits_of)
    assert study.trials[2].params != study.trials[1].params


def test_trial_taken_by_another_process_is_left(tmp_path: Path) -> None:
    parameters = searching(2)
    study, other = opened(tmp_path, parameters), opened(tmp_path, parameters)

    def asleep(trial: optuna.Trial, parameters: Parameters, on_epoch: OnEpoch) -> float:
        if trial.number == 0:
            other.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return bits_of(trial, parameters, on_epoch)

    run_quickly(study, parameters, asleep)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
