"""A search whose trainings take no time."""

from pathlib import Path
from typing import Any

from optuna import Study
from optuna.trial import TrialState

from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.search.study import OnEpoch, open_study

RANGES: dict[str, Any] = {
    "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "model.K": {"low": 1, "high": 64},
    "model.hidden_channels": None,
}


def searching(n_trials: int = 4, ranges: dict[str, Any] | None = None, **others: Any) -> Parameters:
    """Parameters of a search; `others` are of its group."""
    search = {"n_trials": n_trials, "pruner": "none", "ranges": RANGES if ranges is None else ranges, **others}
    return parse_parameters({"search": search})


def opened(project: Path, parameters: Parameters | None = None) -> Study:
    return open_study(parameters or searching(), project)


def bits_of(_trial: object, parameters: Parameters, on_epoch: OnEpoch) -> float:
    """As good as K is small."""
    on_epoch(1, parameters.model.K / 10)
    return parameters.model.K / 10


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def proposed(study: Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials if trial.state != TrialState.FAIL]
