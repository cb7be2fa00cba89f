"""A search whose trainings take no time."""

import os
import time
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.trial import TrialState

from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.search.heartbeats import Heartbeats
from glow_pipeline.search.study import open_study
from glow_pipeline.search.trial_runs import Objective, OnEpoch, OnNotAllowed, run_trials
from tests.processes import comes, fresh_processes

RANGES: dict[str, Any] = {
    "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "model.K": {"low": 1, "high": 64},
    "model.hidden_channels": None,
}


QUICK = Heartbeats(interval=1, grace=60, poll=0.1)
IMPATIENT = replace(QUICK, grace=1)  # where no other process runs, which could be slow for a moment


def searching(n_trials: int = 4, ranges: dict[str, Any] | None = None, **others: Any) -> Parameters:
    """Parameters of a search; `others` are of its group."""
    search = {"n_trials": n_trials, "pruner": "none", "ranges": RANGES if ranges is None else ranges, **others}
    return parse_parameters({"search": search})


def opened(project: Path, parameters: Parameters | None = None, heartbeats: Heartbeats = QUICK) -> Study:
    return open_study(parameters or searching(), project, heartbeats)


def run_quickly(
    study: Study,
    parameters: Parameters,
    objective: Objective,
    on_not_allowed: OnNotAllowed | None = None,
    heartbeats: Heartbeats = QUICK,
) -> None:
    run_trials(study, parameters, objective, on_not_allowed, heartbeats)


def bits_of(_trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
    """Return K / 10: a smaller K is better."""
    on_epoch(1, parameters.model.K / 10)
    return parameters.model.K / 10


def search_slowly(project: Path, n_trials: int, seconds: float, processes: int = 1) -> None:
    """Search with trials that take so many seconds each; the first one also waits until so many processes have one."""

    def objective(trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
        value = bits_of(trial, parameters, on_epoch)
        (project / f"running_{os.getpid()}").touch()
        assert comes(lambda: len(list(project.glob("running_*"))) == processes)
        time.sleep(seconds)
        return value

    run_quickly(opened(project), searching(n_trials), objective)


def start_search(project: Path, n_trials: int, seconds: float, processes: int = 1) -> ForkServerProcess:
    """Start a process that does `search_slowly`."""
    process = fresh_processes().Process(target=search_slowly, args=(project, n_trials, seconds, processes))
    process.start()
    return process


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def proposed(study: Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials if trial.state != TrialState.FAIL]
