"""The study, shared, interrupted, killed."""

import math
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest

from glow_pipeline.errors import GlowPipelineError, NotAllowedError
from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.search import study as study_module
from glow_pipeline.search.study import OnEpoch, check_images, first_try, mlflow_run_of, open_study, run_trials
from tests.project import ROOT
from tests.search.helpers import RANGES, bits_of, opened, proposed, searching, states

# A process that searches: project, trials, seconds a trial.
WORKER = """
import sys, time
from pathlib import Path
from glow_pipeline.search import study as study_module
from tests.search.helpers import bits_of, opened, searching
study_module.HEARTBEAT, study_module.GRACE, study_module.POLL = 1, 3, 0.1
project, n_trials, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

def objective(trial, parameters, on_epoch):
    value = bits_of(trial, parameters, on_epoch)
    (project / "running").touch()
    time.sleep(seconds)
    return value

study_module.run_trials(opened(project), searching(n_trials), objective)
"""


def worker(project: Path, n_trials: int, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(project), str(n_trials), str(seconds)], cwd=ROOT)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("HEARTBEAT", 1), ("GRACE", 3), ("POLL", 0.1)):
        monkeypatch.setattr(study_module, name, seconds)


# Trials ---------------------------------------------------------------------------------------


def test_a_search_goes_on_until_enough_trials_have_finished_in_all(tmp_path: Path) -> None:
    run_trials(opened(tmp_path), searching(3), bits_of)
    run_trials(opened(tmp_path), searching(3), bits_of)
    again = opened(tmp_path)
    assert states(again) == ["COMPLETE"] * 3
    run_trials(again, searching(5), bits_of)
    assert states(again) == ["COMPLETE"] * 5
    assert again.best_value == min(trial.params["model.K"] / 10 for trial in again.trials)


def test_the_same_seed_proposes_the_same_and_another_seed_does_not(tmp_path: Path) -> None:
    found = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 7)):
        parameters = parse_parameters({**searching(14).model_dump(), "seed": seed})
        study = open_study(parameters, tmp_path / folder)
        run_trials(study, parameters, bits_of)
        found.append(proposed(study))
    assert found[0] == found[1] != found[2]
    assert len({str(values) for values in found[0]}) == 14
    # The first ten are drawn at random, the others near to what was good.
    drawn, later = found[0][:10], found[0][10:]
    assert sum(v["model.K"] for v in later) / len(later) < sum(v["model.K"] for v in drawn) / len(drawn)


def test_a_worse_trial_is_stopped_after_the_first_epochs(tmp_path: Path) -> None:
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

    run_trials(study, parameters, worse_each_time)
    assert epochs == [5, 5, 5, 3, 3, 3]  # three complete ones first; two epochs of each
    assert states(study) == ["COMPLETE"] * 3 + ["PRUNED"] * 3
    assert study.best_trial.number == 0


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_training_that_diverged_is_a_finished_trial(tmp_path: Path, value: float) -> None:
    parameters = searching(3)
    study = opened(tmp_path, parameters)
    run_trials(study, parameters, lambda trial, _parameters, _on_epoch: value if trial.number else 1.0)
    assert [trial.value for trial in study.trials] == [1.0, math.inf, math.inf]


def test_pruner_is_quiet_about_infinite_epochs(tmp_path: Path) -> None:
    parameters = searching(8, pruner="median", startup_trials=2, warmup_epochs=0)
    study = opened(tmp_path, parameters)

    def not_finite(trial: optuna.Trial, _parameters: Parameters, on_epoch: OnEpoch) -> float:
        on_epoch(1, math.nan if trial.number % 2 else math.inf)
        return math.inf

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run_trials(study, parameters, not_finite)
    assert states(study) == ["COMPLETE"] * 3 + ["PRUNED", "COMPLETE"] * 2 + ["PRUNED"]
    assert [study_module.state_of(trial) for trial in study.trials[:4]] == ["diverged"] * 3 + ["pruned"]


def test_an_error_ends_the_search_and_its_trial_is_not_repeated(tmp_path: Path) -> None:
    parameters = searching(2)
    study = opened(tmp_path, parameters)

    def wrong(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        bits_of(trial, parameters, on_epoch)
        raise GlowPipelineError("no disk")

    with pytest.raises(GlowPipelineError, match="no disk"):
        run_trials(study, parameters, wrong)
    run_trials(study, parameters, bits_of)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[0].params != study.trials[1].params
    assert study.trials[0].user_attrs[study_module.ERROR] == "no disk"


def test_incompatible_values_fail_an_uncounted_trial(tmp_path: Path) -> None:
    coupling = {"choices": ["affine", "additive"]}
    parameters = searching(
        4, {**RANGES, "model.flow_coupling": coupling, "model.scale_floor": {"low": 0.0, "high": 0.5}}
    )
    study = opened(tmp_path, parameters)
    seen: list[tuple[int, str]] = []
    run_trials(study, parameters, bits_of, lambda trial, reason: seen.append((trial.number, reason)))
    failed = [trial for trial in study.trials if trial.params["model.flow_coupling"] == "additive"]
    assert failed
    assert states(study).count("COMPLETE") == 4
    assert [trial.number for trial in failed] == [n for n, state in enumerate(states(study)) if state == "FAIL"]
    assert seen == [(trial.number, trial.user_attrs[study_module.ERROR]) for trial in failed]
    assert all("an additive coupling has no scale" in reason for _, reason in seen)


@pytest.mark.parametrize("n_trials", [1, 25])
def test_a_search_without_allowed_values_ends(tmp_path: Path, n_trials: int) -> None:
    parameters = searching(n_trials)
    study = opened(tmp_path, parameters)

    def impossible(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        raise NotAllowedError("a: does not go with b")

    with pytest.raises(GlowPipelineError) as raised:
        run_trials(study, parameters, impossible)
    n = max(n_trials, study_module.NOT_ALLOWED_IN_A_ROW)
    assert str(raised.value) == (
        f"search.ranges: the values of {n} trials in a row do not go together (the last ones: a: does not go with b); "
        f"narrow these ranges"
    )
    assert states(study) == ["FAIL"] * n
    assert len({str(trial.params) for trial in study.trials}) > 1
    run_trials(study, parameters, bits_of)
    assert states(study).count("COMPLETE") == n_trials


# Interrupted and killed -----------------------------------------------------------------------


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_trial_is_tried_again_at_once(tmp_path: Path, interruption: type[BaseException]) -> None:
    parameters = searching(2)
    study = opened(tmp_path, parameters)

    def interrupted(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        bits_of(trial, parameters, on_epoch)
        raise interruption

    with pytest.raises(interruption):
        run_trials(study, parameters, interrupted)
    assert states(study) == ["FAIL", "WAITING"]
    started = time.monotonic()
    run_trials(study, parameters, bits_of)
    assert time.monotonic() - started < study_module.GRACE
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    first, second, third = (trial.params for trial in study.trials)
    assert first == second != third


def test_one_that_is_interrupted_as_it_is_pruned_is_pruned(tmp_path: Path) -> None:
    parameters = searching(3, pruner="median", startup_trials=1, warmup_epochs=0)
    study = opened(tmp_path, parameters)

    def worse_and_worse(trial: optuna.Trial, parameters: Parameters, on_epoch: OnEpoch) -> float:
        if any(on_epoch(epoch, trial.number + 1.0) for epoch in (1, 2, 3)):
            raise SystemExit
        return trial.number + 1.0

    with pytest.raises(SystemExit):
        run_trials(study, parameters, worse_and_worse)
    assert states(study) == ["COMPLETE", "PRUNED"], "none is queued again"
    assert study.trials[1].last_step == 1


def test_a_trial_and_its_repetitions_have_a_name_that_no_other_has(tmp_path: Path) -> None:
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
                run_trials(study, searching(2), interrupted_once)
        run_trials(study, searching(2), interrupted_once)
    (_, first), (_, second), (_, third), *others = named
    assert [number for number, _ in named] == [0, 1, 2, 3, 0, 1]
    assert first == second == third
    assert len({first, *(name for _, name in others)}) == 4


def test_other_images_are_refused(tmp_path: Path) -> None:
    study = opened(tmp_path)
    images = {"source_files": {"a.png": "1"}, "split": "train"}
    check_images(study, searching(), images)
    check_images(opened(tmp_path), searching(), images)
    with pytest.raises(
        GlowPipelineError, match=r"^search\.study=digits-\w+: .* \(source_files changed\); bring those back"
    ):
        check_images(opened(tmp_path), searching(), {**images, "source_files": {"a.png": "2"}})


def test_a_killed_search_finishes_and_proposes_what_it_would_have(tmp_path: Path) -> None:
    process = worker(tmp_path / "killed", 3, seconds=1000)
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "running").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed, whole = opened(tmp_path / "killed"), opened(tmp_path / "whole")
    assert states(killed) == ["RUNNING"]
    run_trials(killed, searching(3), bits_of)
    run_trials(whole, searching(3), bits_of)
    assert states(killed).count("FAIL") == 1
    assert states(killed).count("COMPLETE") == 3
    (again,) = (trial for trial in killed.trials if "failed_trial" in trial.system_attrs)
    assert again.params == killed.trials[0].params
    assert again.intermediate_values == killed.trials[0].intermediate_values != {}
    assert sorted(map(str, proposed(killed))) == sorted(map(str, proposed(whole)))


def test_a_process_that_died_before_its_first_sign_of_life_is_not_waited_for_without_end(tmp_path: Path) -> None:
    study = opened(tmp_path)
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.ask()
    run_trials(study, searching(1), bits_of)
    assert states(study) == ["FAIL", "COMPLETE"]


def test_a_trial_that_kills_each_process_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "MAX_RETRIES", 1)
    parameters = searching(1)
    study = opened(tmp_path, parameters)

    def deadly(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        raise SystemExit

    for _ in range(2):
        with pytest.raises(SystemExit):
            run_trials(study, parameters, deadly)
    assert states(study) == ["FAIL", "FAIL"]
    run_trials(study, parameters, bits_of)
    assert study.trials[2].params != study.trials[1].params


def test_a_trial_that_was_given_to_another_process_is_left_to_it(tmp_path: Path) -> None:
    parameters = searching(2)
    study, other = opened(tmp_path, parameters), opened(tmp_path, parameters)

    def asleep(trial: optuna.Trial, parameters: Parameters, on_epoch: OnEpoch) -> float:
        if trial.number == 0:
            other.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return bits_of(trial, parameters, on_epoch)

    run_trials(study, parameters, asleep)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_two_processes_share_the_trials(tmp_path: Path) -> None:
    both = [worker(tmp_path, 12, seconds=0.3) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    study = opened(tmp_path)
    assert set(states(study)) == {"COMPLETE"}
    assert 12 <= len(study.trials) <= 13
    assert len({str(values) for values in proposed(study)}) == len(study.trials)
    starts = [trial.datetime_start for trial in study.trials]
    ends = [trial.datetime_complete for trial in study.trials]
    together = [later < earlier for later, earlier in zip(starts[1:], ends, strict=False) if later and earlier]
    assert any(together)


# Which study ----------------------------------------------------------------------------------


def named(tmp_path: Path, **raw: Any) -> str:
    ranges = raw.pop("ranges", RANGES)
    return open_study(parse_parameters({"search": {"ranges": ranges}, **raw}), tmp_path).study_name


def test_a_command_finds_its_own_search_and_another_command_has_another(tmp_path: Path) -> None:
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


def test_a_search_of_a_given_name_takes_no_other_trials(tmp_path: Path) -> None:
    opened(tmp_path, searching(3, study="mine"))
    opened(tmp_path, searching(9, study="mine", warmup_epochs=7))
    with pytest.raises(GlowPipelineError) as raised:
        opened(tmp_path, searching(study="mine", ranges={**RANGES, "model.K": None}))
    assert str(raised.value).startswith("search.study=mine: its trials were of another model.K, search.ranges.model.K;")


def test_the_mlflow_run_of_a_search_is_kept(tmp_path: Path) -> None:
    assert mlflow_run_of(opened(tmp_path)) is None
    opened(tmp_path).set_user_attr(study_module.MLFLOW_RUN, "an id")
    assert mlflow_run_of(opened(tmp_path)) == "an id"
