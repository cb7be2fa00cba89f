"""Nodes of the search pipeline: from image tables to the trials of a search and the best parameters."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from glow_pipeline.errors import NotAllowedError, TrainingStopped
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import NotEnoughMemoryError
from glow_pipeline.parameters import Parameters
from glow_pipeline.plots.trials import search_history
from glow_pipeline.provenance import Provenance
from glow_pipeline.search.space import raise_not_allowed
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.metric_names import SEARCH, TRAINING, in_group
from glow_pipeline.tracking.runs import RunAddress, current_run, end_run, sibling, start_child_run
from glow_pipeline.training.checks import check_training
from glow_pipeline.training.history import reported
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.reporter import TrialReporter
from glow_pipeline.training.resume import claim_training
from glow_pipeline.training.task import TrainingTask
from glow_pipeline.training.train import train

if TYPE_CHECKING:
    from optuna import Trial

OnEpoch = Callable[[int, float], bool]
TOO_LARGE = "does not fit into the GPU's memory"

logger = logging.getLogger(__name__)


# `search_study` is an optuna.Study. Kedro reads the types of nodes, so this one would be imported for every command.
def run_search(
    search_study: Any,
    fit_images: ImageTable,
    val_images: ImageTable,
    parameters: Parameters,
    provenance: Provenance,
    checkpoints: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run trials until enough have finished; return all trials of the study, a row each, twice: for two files."""
    from glow_pipeline.search.results import trials_table  # here, because Optuna takes a third of a second
    from glow_pipeline.search.study import DIVERGED, ERROR, check_images, first_try
    from glow_pipeline.search.trial_runs import run_trials

    check_images(search_study, parameters, fit_images.record.origin)
    parent = _parent(search_study)

    def objective(trial: "Trial", proposed: Parameters, on_epoch: OnEpoch) -> float:
        with _trial_run(parent, trial, search_study.study_name) as trial_run:

            def stops(epoch: int, val_bits_per_dim: float) -> bool:
                stop = on_epoch(epoch, val_bits_per_dim)
                if stop:
                    trial_run.tags["state"] = "pruned"
                return stop

            task = TrainingTask(
                fit_images,
                val_images,
                proposed,
                provenance,
                mlflow_run=trial_run.address,
                prints_summary=False,
                keeps_samples=False,
            )
            folder = checkpoints / "trials" / first_try(search_study, trial)
            try:
                best = train_trial(task, folder, provenance.kedro_session or "no_session", stops)
            except (NotEnoughMemoryError, torch.OutOfMemoryError):
                logger.warning("trial %d: %s; counts as diverged", trial.number, TOO_LARGE)
                trial.set_user_attr(ERROR, TOO_LARGE)
                trial_run.tags["error"] = TOO_LARGE
                best = math.inf
            trial_run.tags.setdefault("state", "complete" if math.isfinite(best) else DIVERGED)
            if math.isfinite(best):
                with MetricLogger(trial_run.address) as metrics:
                    row = reported({"best_val_bits_per_dim": best}, parameters.model.y_condition)
                    metrics.log_metrics(in_group(TRAINING, row), 0)
            return best

    def on_not_allowed(trial: "Trial", reason: str) -> None:
        with suppress(NotAllowedError), _trial_run(parent, trial, search_study.study_name):
            raise NotAllowedError(reason)

    run_trials(search_study, parameters, objective, on_not_allowed)
    table = trials_table(search_study)
    _report_best(table, parameters, parent)
    return table, table


def _report_best(table: pd.DataFrame, parameters: Parameters, parent: RunAddress | None) -> None:
    """Log the number of trials and the best of them, the latter also to the MLflow run above all trials."""
    counts = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
    logger.info("%d trials in all: %s", len(table), counts)
    best = table.loc[table["state"] == "complete", "val_bits_per_dim"].min()
    if not math.isfinite(best):
        return
    winner = table.loc[table["val_bits_per_dim"].eq(best) & table["state"].eq("complete")].iloc[0]
    values = ", ".join(f"{name}={winner[name]}" for name in parameters.search.searched if name in winner)
    logger.info("best: trial %d, %.4f bits/dim on validation images; %s", winner["number"], best, values)
    with MetricLogger(parent) as metrics:
        row = reported({"best_val_bits_per_dim": best}, parameters.model.y_condition)
        metrics.catch_up([(in_group(SEARCH, row), len(table))])  # once, by the first command


def train_trial(task: TrainingTask, folder: Path, session: str, on_epoch: OnEpoch) -> float:
    """Train; return the best bits per dimension of the validation images, infinite if the training diverged.

    An interrupted trial resumes from its last checkpoint.

    Args:
        task: without a folder.
        folder: for the checkpoints of this trial and of its earlier tries; they are deleted at its end.
        session: name of the present Kedro session.
        on_epoch: takes each epoch with its bits per dimension, and returns whether to stop there.

    Raises:
        NotAllowedError: this training is not possible with these images or on this device, and was not started.
    """
    with raise_not_allowed():
        check_training(task.parameters, len(task.fit_images))
        flow = untrained_flow(task.parameters, task.fit_images.record.image_format, task.fit_images.record.num_classes)
    training = claim_training(task.parameters, folder, session)
    _, history = train(task.claimed(training), flow, TrialReporter(on_epoch))
    training.discard()
    return math.inf if history.diverged else history.best_val_bits_per_dim


def write_best(search_study: Any, search_results: pd.DataFrame, parameters: Parameters) -> str:
    """Return the best trial's parameters as the text of a parameters.yml."""
    from glow_pipeline.search.results import best_parameters_file

    return best_parameters_file(search_study, search_results, parameters)


def plot_search(search_results: pd.DataFrame, image_selection: ImageSelection) -> Figure:
    """Draw the validation bits per dimension of the trials, and the best so far."""
    return search_history(
        search_results["state"].tolist(),
        search_results["val_bits_per_dim"].tolist(),
        f"search on {image_selection.key}",
    )


def _parent(study: Any) -> RunAddress | None:
    """Return the MLflow run above all trials: this command's, unless another command of this study was first."""
    from glow_pipeline.search.study import MLFLOW_RUN, mlflow_run_of

    own = current_run()
    if own is None:
        return None
    known = mlflow_run_of(study)
    if known not in (None, own.run_id) and (first := sibling(own, known)) is not None:
        return first
    study.set_user_attr(MLFLOW_RUN, own.run_id)
    return own


@dataclass
class _TrialRun:
    """The MLflow run of a trial, and the tags to set at its end."""

    address: RunAddress | None
    tags: dict[str, str] = field(default_factory=dict)


@contextmanager
def _trial_run(parent: RunAddress | None, trial: "Trial", study: str) -> Iterator[_TrialRun]:
    """Start an MLflow run of a trial, below that of the search, and end it with the trial's status."""
    from glow_pipeline.search.study import MLFLOW_RUN

    if parent is not None and MLFLOW_RUN in trial.user_attrs:  # of an interrupted try, which could not end its run
        end_run(RunAddress(parent.tracking_uri, trial.user_attrs[MLFLOW_RUN]), "KILLED")
    tags = {"study": study, "trial": str(trial.number)}
    run = start_child_run(parent, f"trial {trial.number}", trial.params, tags)
    if run is not None:
        trial.set_user_attr(MLFLOW_RUN, run.run_id)
    trial_run, status = _TrialRun(run), "KILLED"
    try:
        yield trial_run
        status = "FINISHED"
    except TrainingStopped:  # an Exception, but no failure
        raise
    except Exception as error:
        status = "FAILED"
        trial_run.tags |= {"state": "fail", "error": str(error)}
        raise
    finally:
        end_run(run, status, trial_run.tags)
