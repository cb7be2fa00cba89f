"""From image tables to the trials of a search, and the best of them."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.table import ImageTable
from glow_pipeline.job import Job, run, untrained_flow
from glow_pipeline.metric_logger import MetricLogger
from glow_pipeline.mlflow_runs import RunAddress, current_run, end_run, sibling, start_child_run
from glow_pipeline.parameters import Parameters
from glow_pipeline.plots.trials import search_history
from glow_pipeline.resuming import claim_training
from glow_pipeline.training.stored import Provenance

if TYPE_CHECKING:
    from optuna import Trial

logger = logging.getLogger(__name__)


# `search_study` is an optuna.Study. Kedro reads the types of nodes, so this one would be imported for every command.
def run_search(
    search_study: Any,
    fit_images: ImageTable,
    val_images: ImageTable,
    parameters: dict[str, Any],
    provenance: Provenance,
    checkpoints: Path,
) -> pd.DataFrame:
    """Run trials until enough have finished; one row a trial, those of earlier commands and other machines too."""
    from glow_pipeline.search.results import trials_table  # here, because Optuna takes a third of a second
    from glow_pipeline.search.study import check_images, first_try, run_trials

    given = Parameters.model_validate(parameters)
    check_images(search_study, given, fit_images.record.origin.model_dump(mode="json"))
    parent = _parent(search_study)

    def objective(trial: "Trial", proposed: Parameters, on_epoch: Callable[[int, float], bool]) -> float:
        with _trial_run(parent, trial, search_study.study_name) as mlflow_run:
            job = Job(fit_images, val_images, proposed, provenance, mlflow_run=mlflow_run)
            folder = checkpoints / "trials" / first_try(search_study, trial)
            try:
                best = train_trial(job, folder, provenance.kedro_session or "no_session", on_epoch)
            except torch.OutOfMemoryError:
                logger.warning("trial %d: does not fit into the GPU's memory; counts as diverged", trial.number)
                best = math.inf
            if math.isfinite(best):
                with MetricLogger(mlflow_run) as metrics:
                    metrics.log_metrics({"best_val_bits_per_dim": best}, 0)
            return best

    run_trials(search_study, given, objective)
    table = trials_table(search_study)
    best = table.loc[table["state"] == "complete", "val_bits_per_dim"].min()
    if math.isfinite(best):
        with MetricLogger(parent) as metrics:
            metrics.catch_up([({"best_val_bits_per_dim": best}, len(table))])  # once, by whichever command is first
    return table


def train_trial(job: Job, folder: Path, session: str, on_epoch: Callable[[int, float], bool]) -> float:
    """Do this training; the best bits per dimension of the validation images, infinite if it diverged.

    A trial that was cut off before goes on from its last checkpoint.

    Args:
        job: without a folder.
        folder: of the checkpoints of this trial and of its earlier tries; they are deleted at its end.
        session: the present one.
        on_epoch: takes each epoch with its bits per dimension, and says whether to stop there.
    """
    training = claim_training(job.parameters, folder, session)
    flow = untrained_flow(job.parameters, job.fit_images.record.spec, job.fit_images.record.num_classes)
    _, history = run(
        job.within(training),
        flow,
        lambda metrics, _step: on_epoch(int(metrics["epoch"]), metrics["val_bits_per_dim"]),
    )
    training.discard()
    return math.inf if history.diverged else history.best_val_bits_per_dim


def write_best(search_study: Any, search_results: pd.DataFrame, parameters: dict[str, Any]) -> str:
    """The best trial's parameters, as the text of a parameters.yml."""
    from glow_pipeline.search.results import best_parameters_file

    return best_parameters_file(search_study, search_results, Parameters.model_validate(parameters))


def plot_search(search_results: pd.DataFrame, image_set: ImageSet) -> Figure:
    """Validation bits per dimension of the trials, and the best so far."""
    return search_history(
        search_results["state"].tolist(), search_results["val_bits_per_dim"].tolist(), f"search on {image_set.key}"
    )


def _parent(study: Any) -> RunAddress | None:
    """The MLflow run above all trials: this command's, unless one that was typed at the same moment came first."""
    from glow_pipeline.search.study import MLFLOW_RUN, mlflow_run_of

    own = current_run()
    if own is None:
        return None
    known = mlflow_run_of(study)
    if known not in (None, own.run_id) and (first := sibling(own, known)) is not None:
        return first
    study.set_user_attr(MLFLOW_RUN, own.run_id)
    return own


@contextmanager
def _trial_run(parent: RunAddress | None, trial: "Trial", study: str) -> Iterator[RunAddress | None]:
    """A trial's own MLflow run, below the search's."""
    from glow_pipeline.search.study import MLFLOW_RUN

    if parent is not None and MLFLOW_RUN in trial.user_attrs:  # of a try that was cut off, and could not end its run
        end_run(RunAddress(parent.tracking_uri, trial.user_attrs[MLFLOW_RUN]), "KILLED")
    tags = {"study": study, "trial": str(trial.number)}
    run = start_child_run(parent, f"trial {trial.number}", trial.params, tags)
    if run is not None:
        trial.set_user_attr(MLFLOW_RUN, run.run_id)
    status = "KILLED"
    try:
        yield run
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        end_run(run, status)
