"""The MLflow runs of a search: one above all trials, and one below it for each trial."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import optuna
import pandas as pd

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.parameters import Parameters
from glow_pipeline.search.study import MLFLOW_RUN, mlflow_run_of
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.metric_names import SEARCH, in_group
from glow_pipeline.tracking.runs import RunAddress, current_run, end_run, sibling, start_child_run
from glow_pipeline.training.history import reported

logger = logging.getLogger(__name__)


def parent_run(study: optuna.Study) -> RunAddress | None:
    """Return the MLflow run above all trials: this command's, unless another command of this study was first."""
    own = current_run()
    if own is None:
        return None
    known = mlflow_run_of(study)
    if known not in (None, own.run_id) and (first := sibling(own, known)) is not None:
        return first
    study.set_user_attr(MLFLOW_RUN, own.run_id)
    return own


@dataclass
class TrialRun:
    """The MLflow run of a trial, and the tags to set at its end."""

    address: RunAddress | None
    tags: dict[str, str] = field(default_factory=dict)


@contextmanager
def trial_run(parent: RunAddress | None, trial: optuna.Trial, study: str) -> Iterator[TrialRun]:
    """Start an MLflow run of a trial, below that of the search, and end it with the trial's status."""
    if parent is not None and MLFLOW_RUN in trial.user_attrs:  # of an interrupted try, which could not end its run
        end_run(RunAddress(parent.tracking_uri, trial.user_attrs[MLFLOW_RUN]), "KILLED")
    tags = {"study": study, "trial": str(trial.number)}
    run = start_child_run(parent, f"trial {trial.number}", trial.params, tags)
    if run is not None:
        trial.set_user_attr(MLFLOW_RUN, run.run_id)
    own, status = TrialRun(run), "KILLED"
    try:
        yield own
        status = "FINISHED"
    except TrainingStopped:  # an Exception, but no failure
        raise
    except Exception as error:
        status = "FAILED"
        own.tags |= {"state": "fail", "error": str(error)}
        raise
    finally:
        end_run(run, status, own.tags)


def report_best(table: pd.DataFrame, parameters: Parameters, parent: RunAddress | None) -> None:
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
