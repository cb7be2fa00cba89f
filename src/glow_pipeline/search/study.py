"""The study: all trials of a search, in a database that several processes and machines may share."""

import hashlib
import json
import math
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import TableOrigin
from glow_pipeline.parameters import Parameters
from glow_pipeline.search.heartbeats import DEFAULT, Heartbeats
from glow_pipeline.search.storage import database_errors_in_one_line, open_storage
from glow_pipeline.training.identity import identity
from glow_pipeline.training.same_origin import check_same_origin

DIVERGED = "diverged"  # a state that Optuna does not know: complete, of infinite value
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
DEPENDS_ON, IMAGES, MLFLOW_RUN = "depends_on", "images", "mlflow_run_id"
ERROR = "error"  # attribute of a trial: why it failed, or why its value is infinite


def open_study(parameters: Parameters, project: Path, heartbeats: Heartbeats = DEFAULT) -> optuna.Study:
    """Open the study of these parameters: a new one, or the one of that name with all its trials.

    Args:
        project: folder that a SQLite file's path is relative to.

    Raises:
        GlowPipelineError: the database cannot be opened, or the study's trials had other ranges or parameters.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    depends_on = _depends_on(parameters)
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:8]
    name = parameters.search.study or f"{parameters.image_selection.key}-{digest}"
    with warnings.catch_warnings(), database_errors_in_one_line(parameters.search.storage, ImportError, OSError):
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(
            storage=open_storage(
                parameters.search.storage, project, heartbeats.interval, heartbeats.grace, heartbeats.retry()
            ),
            study_name=name,
            load_if_exists=True,
            pruner=_pruner(parameters),
        )
        differing = _differing(study, DEPENDS_ON, depends_on)
    if differing:
        raise GlowPipelineError(
            f"search.study={name}: its trials were of another {', '.join(differing)}; choose another name, or null"
        )
    return study


def check_images(study: optuna.Study, parameters: Parameters, images: TableOrigin) -> None:
    """Check that all trials of a study are evaluated on the same images.

    Args:
        study: study of the search.
        parameters: all parameters of the command.
        images: the training images of this command.

    Raises:
        GlowPipelineError: its earlier trials had others.
    """
    with database_errors_in_one_line(parameters.search.storage):
        first = _first_of_study(study, IMAGES, images.model_dump(mode="json"))
    check_same_origin(
        TableOrigin.model_validate(first),
        images,
        subject=f"search.study={study.study_name}: its trials were of",
        remedy="or set search.study to a new name",
    )


def mlflow_run_of(study: optuna.Study) -> str | None:
    """Return the MLflow run above all trials: that of the first command of this search that recorded one."""
    return study.user_attrs.get(MLFLOW_RUN)


def first_try(study: optuna.Study, trial: optuna.Trial) -> str:
    """Return a name for a trial and all its repetitions that no trial of another study has, in any database."""
    trials = study.get_trials(deepcopy=False)
    first = trials[trials[trial.number].system_attrs.get("failed_trial", trial.number)]
    return f"{first.number}_{first.datetime_start:%Y-%m-%dT%H.%M.%S.%f}"


def state_of(trial: FrozenTrial) -> str:
    """Return the state of a trial: Optuna's in small letters, or diverged."""
    if trial.state == TrialState.COMPLETE and trial.value is not None and math.isinf(trial.value):
        return DIVERGED
    return trial.state.name.lower()


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that trained to their end, diverged or were pruned."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def _differing(study: optuna.Study, kind: str, now: dict[str, Any]) -> list[str]:
    """Return the keys whose values differ from those of the study's first command, whose values are recorded."""
    first = _first_of_study(study, kind, now)
    return sorted(key for key in {*first, *now} if first.get(key) != now.get(key))


def _first_of_study(study: optuna.Study, kind: str, now: dict[str, Any]) -> dict[str, Any]:
    """Return the values that the study's first command recorded; the present ones if this is the first."""
    if kind not in study.user_attrs:
        study.set_user_attr(kind, now)
    first: dict[str, Any] = study.user_attrs[kind]
    return first


def _depends_on(parameters: Parameters) -> dict[str, Any]:
    """Return all that the result of a trial depends on beside the values proposed to it, by dotted names."""
    searched = parameters.search.searched
    lengths = {f"train.{name}": getattr(parameters.train, name) for name in ("n_epochs", "early_stopping")}
    fixed = {**identity(parameters), **lengths, "dataset": parameters.image_selection.key}
    return {
        **{name: value for name, value in fixed.items() if name not in searched},
        **{f"search.ranges.{name}": given.model_dump(exclude_none=True) for name, given in searched.items()},
    }


def _pruner(parameters: Parameters) -> optuna.pruners.BasePruner:
    if parameters.search.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=parameters.search.startup_trials, n_warmup_steps=parameters.search.warmup_epochs + 1
    )
