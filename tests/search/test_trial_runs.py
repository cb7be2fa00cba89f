"""Runs of trials, pruned, failed and shared."""

import math
import warnings
from pathlib import Path

import optuna
import pytest

from glow_pipeline.errors import GlowPipelineError, NotAllowedError
from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.search.study import ERROR, state_of
from glow_pipeline.search.trial_runs import NOT_ALLOWED_IN_A_ROW, OnEpoch
from tests.search.helpers import RANGES, bits_of, opened, proposed, run_quickly, searching, start_search, states


def test_search_runs_until_enough_trials_have_finished(tmp_path: Path) -> None:
    run_quickly(opened(tmp_path), searching(3), bits_of)
    run_quickly(opened(tmp_path), searching(3), bits_of)
    again = opened(tmp_path)
    assert states(again) == ["COMPLETE"] * 3
    run_quickly(again, searching(5), bits_of)
    assert states(again) == ["COMPLETE"] * 5
    assert again.best_value == min(trial.params["model.K"] / 10 for trial in again.trials)


def test_seed_decides_the_proposals(tmp_path: Path) -> None:
    found = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 7)):
        parameters = parse_parameters({**searching(14).model_dump(), "seed": seed})
        study = opened(tmp_path / folder, parameters)
        run_quickly(study, parameters, bits_of)
        found.append(proposed(study))
    assert found[0] == found[1] != found[2]
    assert len({str(values) for values in found[0]}) == 14
    # The first ten are drawn at random, the others near to what was good.
    drawn, later = found[0][:10], found[0][10:]
    assert sum(v["model.K"] for v in later) / len(later) < sum(v["model.K"] for v in drawn) / len(drawn)


def test_worse_trial_is_pruned_after_first_epochs(tmp_path: Path) -> None:
    parameters = searching(6, pruner="median", warmup_epochs=2, startup_trials=3)
    study = opened(tmp_path, parameters)
    epochs: list[int] = []

    def worse_each_time(trial: optuna.Trial, _parameters: Parameters, on_epoch: OnEpoch) -> float:
        epochs.append(0)
        for epoch in range(1, 6):
            epochs[-1] = epoch
            if on_epoch(epoch, float(trial.number)):
                break
        return float(trial.number)

    run_quickly(study, parameters, worse_each_time)
    assert epochs == [5, 5, 5, 3, 3, 3]  # three complete ones first; two epochs of each
    assert states(study) == ["COMPLETE"] * 3 + ["PRUNED"] * 3
    assert study.best_trial.number == 0


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_diverged_training_is_a_finished_trial(tmp_path: Path, value: float) -> None:
    parameters = searching(3)
    study = opened(tmp_path, parameters)
    run_quickly(study, parameters, lambda trial, _parameters, _on_epoch: value if trial.number else 1.0)
    assert [trial.value for trial in study.trials] == [1.0, math.inf, math.inf]


def test_pruner_is_quiet_about_infinite_epochs(tmp_path: Path) -> None:
    parameters = searching(8, pruner="median", startup_trials=2, warmup_epochs=0)
    study = opened(tmp_path, parameters)

    def not_finite(trial: optuna.Trial, _parameters: Parameters, on_epoch: OnEpoch) -> float:
        on_epoch(1, math.nan if trial.number % 2 else math.inf)
        return math.inf

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run_quickly(study, parameters, not_finite)
    assert states(study) == ["COMPLETE"] * 3 + ["PRUNED", "COMPLETE"] * 2 + ["PRUNED"]
    assert [state_of(trial) for trial in study.trials[:4]] == ["diverged"] * 3 + ["pruned"]


def test_error_ends_search_without_a_retry(tmp_path: Path) -> None:
    parameters = searching(2)
    study = opened(tmp_path, parameters)

    def wrong(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        bits_of(trial, parameters, on_epoch)
        raise GlowPipelineError("no disk")

    with pytest.raises(GlowPipelineError, match="no disk"):
        run_quickly(study, parameters, wrong)
    run_quickly(study, parameters, bits_of)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[0].params != study.trials[1].params
    assert study.trials[0].user_attrs[ERROR] == "no disk"


def test_incompatible_values_fail_an_uncounted_trial(tmp_path: Path) -> None:
    coupling = {"choices": ["affine", "additive"]}
    parameters = searching(
        4, {**RANGES, "model.flow_coupling": coupling, "model.scale_floor": {"low": 0.0, "high": 0.5}}
    )
    study = opened(tmp_path, parameters)
    seen: list[tuple[int, str]] = []
    run_quickly(study, parameters, bits_of, lambda trial, reason: seen.append((trial.number, reason)))
    failed = [trial for trial in study.trials if trial.params["model.flow_coupling"] == "additive"]
    assert failed
    assert states(study).count("COMPLETE") == 4
    assert [trial.number for trial in failed] == [n for n, state in enumerate(states(study)) if state == "FAIL"]
    assert seen == [(trial.number, trial.user_attrs[ERROR]) for trial in failed]
    assert all("an additive coupling has no scale" in reason for _, reason in seen)


@pytest.mark.parametrize("n_trials", [1, NOT_ALLOWED_IN_A_ROW + 1])
def test_search_without_allowed_values_ends(tmp_path: Path, n_trials: int) -> None:
    parameters = searching(n_trials)
    study = opened(tmp_path, parameters)

    def impossible(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        raise NotAllowedError("a: does not go with b")

    with pytest.raises(GlowPipelineError) as raised:
        run_quickly(study, parameters, impossible)
    n = max(n_trials, NOT_ALLOWED_IN_A_ROW)
    assert str(raised.value) == (
        f"search.ranges: the values of {n} trials in a row do not go together (the last ones: a: does not go with b); "
        f"narrow these ranges"
    )
    assert states(study) == ["FAIL"] * n
    assert len({str(trial.params) for trial in study.trials}) > 1
    run_quickly(study, parameters, bits_of)
    assert states(study).count("COMPLETE") == n_trials


def test_two_processes_share_the_trials(tmp_path: Path) -> None:
    both = [start_search(tmp_path, 12, seconds=0.1, processes=2) for _ in range(2)]
    for process in both:
        process.join(timeout=120)
    assert [process.exitcode for process in both] == [0, 0]
    study = opened(tmp_path)
    assert set(states(study)) == {"COMPLETE"}
    assert 12 <= len(study.trials) <= 13
    assert len({str(values) for values in proposed(study)}) == len(study.trials)
    starts = [trial.datetime_start for trial in study.trials]
    ends = [trial.datetime_complete for trial in study.trials]
    together = [later < earlier for later, earlier in zip(starts[1:], ends, strict=False) if later and earlier]
    assert any(together)
