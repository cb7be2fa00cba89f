"""The training of a trial, with its MLflow run."""

import logging
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch

from glow_pipeline.errors import NotAllowedError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import NotEnoughMemoryError
from glow_pipeline.parameters import Parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.search.mlflow_runs import TrialRun, trial_run
from glow_pipeline.search.space import raise_not_allowed
from glow_pipeline.search.study import DIVERGED, ERROR, first_try
from glow_pipeline.search.trial_runs import OnEpoch
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.metric_names import TRAINING, in_group
from glow_pipeline.tracking.runs import RunAddress
from glow_pipeline.training.checks import check_training
from glow_pipeline.training.history import reported
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.reporter import TrialReporter
from glow_pipeline.training.resume import claim_training
from glow_pipeline.training.task import TrainingTask
from glow_pipeline.training.train import train

TOO_LARGE = "does not fit into the GPU's memory"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialTraining:
    """Trains the trials of a search, with the methods that `run_trials` takes.

    Attributes:
        study: the search.
        fit_images, val_images: images to train on, and to validate each epoch on.
        provenance: the run that searches.
        checkpoints: folder of the checkpoints of all trainings on these images.
        parent: the MLflow run above those of the trials; None: there are none.
    """

    study: optuna.Study
    fit_images: ImageTable
    val_images: ImageTable
    provenance: Provenance
    checkpoints: Path
    parent: RunAddress | None

    def objective(self, trial: optuna.Trial, proposed: Parameters, on_epoch: OnEpoch) -> float:
        """Train with the proposed parameters; return the best bits per dimension, infinite if it diverged."""
        with trial_run(self.parent, trial, self.study.study_name) as run:

            def stops(epoch: int, val_bits_per_dim: float) -> bool:
                stop = on_epoch(epoch, val_bits_per_dim)
                if stop:
                    run.tags["state"] = "pruned"
                return stop

            best = self._train(trial, proposed, run, stops)
            run.tags.setdefault("state", "complete" if math.isfinite(best) else DIVERGED)
            if math.isfinite(best):
                with MetricLogger(run.address) as metrics:
                    row = reported({"best_val_bits_per_dim": best}, proposed.model.y_condition)
                    metrics.log_metrics(in_group(TRAINING, row), 0)
            return best

    def on_not_allowed(self, trial: optuna.Trial, reason: str) -> None:
        """Record a trial whose values are not allowed together as a failed MLflow run."""
        with suppress(NotAllowedError), trial_run(self.parent, trial, self.study.study_name):
            raise NotAllowedError(reason)

    def _train(self, trial: optuna.Trial, proposed: Parameters, run: TrialRun, on_epoch: OnEpoch) -> float:
        """Train; a training that does not fit into the memory counts as diverged."""
        task = TrainingTask(
            self.fit_images,
            self.val_images,
            proposed,
            self.provenance,
            mlflow_run=run.address,
            prints_summary=False,
            keeps_samples=False,
        )
        folder = self.checkpoints / "trials" / first_try(self.study, trial)
        try:
            return train_trial(task, folder, self.provenance.kedro_session or "no_session", on_epoch)
        except (NotEnoughMemoryError, torch.OutOfMemoryError):
            logger.warning("trial %d: %s; counts as diverged", trial.number, TOO_LARGE)
            trial.set_user_attr(ERROR, TOO_LARGE)
            run.tags["error"] = TOO_LARGE
            return math.inf


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
