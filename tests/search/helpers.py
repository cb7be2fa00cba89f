"""A search whose trainings take no time."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.trial import TrialState

from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.search.heartbeats import Heartbeats
from glow_pipeline.search.study import open_study
from glow_pipeline.search.trial_runs import Objective, OnEpoch, OnNotAllowed, run_trials
from tests.project import ROOT

RANGES: dict[str, Any] = {
    "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "model.K": {"low": 1, "high": 64},
    "model.hidden_channels": None,
}


QUICK = Heartbeats(interval=1, grace=3, poll=0.1)


def searching(n_trials: int = 4, ranges: dict[str, Any] | None = None, **others: Any) -> Parameters:
    """Parameters of a search; `others` are of its group."""
    search = {"n_trials": n_trials, "pruner": "none", "ranges": RANGES if ranges is None else ranges, **others}
    return parse_parameters({"search": search})


def opened(project: Path, parameters: Parameters | None = None) -> Study:
    return open_study(parameters or searching(), project, QUICK)


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


# A process that searches: project, trials, seconds a trial.
WORKER = """
import sys, time
from pathlib import Path
from tests.search.helpers import bits_of, opened, run_quickly, searching
project, n_trials, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

def objective(trial, parameters, on_epoch):
    value = bits_of(trial, parameters, on_epoch)
    (project / "running").touch()
    time.sleep(seconds)
    return value

run_quickly(opened(project), searching(n_trials), objective)
"""


def worker(project: Path, n_trials: int, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(project), str(n_trials), str(seconds)], cwd=ROOT)


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def proposed(study: Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials if trial.state != TrialState.FAIL]
