"""The training that a command resumes: the one that the same command started and did not finish."""

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import IngestParameters, Parameters
from glow_pipeline.training.checkpoint import Checkpoint, OtherFormatError
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.identity import fingerprint, identity
from glow_pipeline.training.named_checkpoint import named_checkpoint

PATIENCE = 10.0  # seconds
BATCH_SIZE = "train.batch_size"
# Defaults of `ingest` before there were calibration images.
FORMER_SPLIT = {"val_percentage": 10.0, "calibration_percentage": 0.0}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClaimedTraining:
    """A training that this process has claimed.

    Attributes:
        folder: folder of its checkpoints; None on a machine that only helps.
        start: the checkpoint from which it resumes, without its tensors; None if it starts.
    """

    folder: TrainingFolder | None
    start: Checkpoint | None = None

    @property
    def mlflow_run_id(self) -> str | None:
        """Return the id of the MLflow run in which it started, if it resumes."""
        return self.start.record.mlflow_run_id if self.start is not None else None

    def discard(self) -> None:
        """Delete its checkpoints, and the folders that are empty then: nobody will resume it."""
        if self.folder is not None:
            self.folder.release()
            shutil.rmtree(self.folder.path, ignore_errors=True)
            with suppress(OSError):  # others have trainings there
                for parent in self.folder.path.parents[:2]:
                    parent.rmdir()


def claim_training(parameters: Parameters, root: Path, session: str) -> ClaimedTraining:
    """Find the training that these parameters resume, or start one, and claim it for this process.

    Args:
        parameters: all parameters of the command.
        root: the folder that holds the trainings, by fingerprint and by the session in which each started.
        session: name of the present session.

    Raises:
        GlowPipelineError: the training that `train.resume` names is another one, or another process trains it.
    """
    if parameters.train.resume not in ("auto", "never"):
        return _claim_named(parameters)
    same_identity = root / fingerprint(parameters)
    if parameters.train.resume == "auto":
        for path in sorted(same_identity.glob("*/"), reverse=True):
            folder = TrainingFolder(path)
            if folder.finished or not folder.claim():
                continue
            # Only now no other process can finish it.
            if not folder.finished and (training := _resumed(folder, parameters)) is not None:
                return training
            folder.release()
        _warn_of_former_split(parameters, root)
        _warn_of_other_batches(parameters, root)
    folder = TrainingFolder(same_identity / session)
    # Another process that looks for a training to resume may hold it for the moment in which it finds it empty.
    if not folder.claim(patience=PATIENCE):
        raise GlowPipelineError(f"{folder.path}: another process trains there; type the same command again")
    return ClaimedTraining(folder)


def _resumed(folder: TrainingFolder, parameters: Parameters) -> ClaimedTraining | None:
    """Return the training of this folder if it can be resumed."""
    try:
        start = folder.newest(with_tensors=False)
    except OtherFormatError as error:
        logger.warning("A new training starts, since the interrupted one cannot be resumed: %s", error)
        return None
    if start is None:
        return None
    history = start.record.history
    if len(history.epochs) > parameters.train.n_epochs:
        logger.info("%s: is beyond train.n_epochs=%s already; a new training", folder.path, parameters.train.n_epochs)
        return None
    logger.info(
        "Interrupted before: this training goes on from step %s, epoch %s (%s); train.resume=never starts a new one.",
        history.steps,
        len(history.epochs) + 1,
        folder.path,
    )
    return ClaimedTraining(folder, start)


def _warn_of_former_split(parameters: Parameters, root: Path) -> None:
    """Warn of a training that this command left unfinished in a version with another default split of the images."""
    default = IngestParameters()
    if any(getattr(parameters.ingest, name) != getattr(default, name) for name in FORMER_SPLIT):
        return
    former = parameters.model_copy(update={"ingest": parameters.ingest.model_copy(update=FORMER_SPLIT)})
    for path in sorted((root / fingerprint(former)).glob("*/"), reverse=True):
        folder = TrainingFolder(path)
        if folder.checkpoints and not folder.finished:
            logger.warning(
                "A new training starts, since the interrupted one (%s) holds out other images; to resume that one, add "
                "%s to --params",
                folder.path,
                ",".join(f"ingest.{name}={value:g}" for name, value in FORMER_SPLIT.items()),
            )
            return


def _warn_of_other_batches(parameters: Parameters, root: Path) -> None:
    """Warn of a training that this command left unfinished with another number of processes, and so other batches."""
    train = parameters.train
    if train.batch_size_per_device is None:
        return
    for path in sorted(root.glob("*/*/"), reverse=True):
        folder = TrainingFolder(path)
        if folder.finished:
            continue
        try:
            start = folder.newest(with_tensors=False)
        except OtherFormatError:
            continue
        before = {} if start is None else start.record.identity
        if before and {**before, BATCH_SIZE: train.batch_size} == identity(parameters):
            logger.warning(
                "A new training starts, with batches of %s x %s = %s images, since the interrupted one (%s) has "
                "batches of %s; to resume that one, give train.batch_size=%s in place of train.batch_size_per_device",
                *(train.batch_size_per_device, train.batch_size // train.batch_size_per_device, train.batch_size),
                *(folder.path, before[BATCH_SIZE], before[BATCH_SIZE]),
            )
            return


def _claim_named(parameters: Parameters) -> ClaimedTraining:
    start = named_checkpoint(parameters)
    folder = TrainingFolder(cast(Path, start.path).parent)
    if not folder.claim():
        raise GlowPipelineError(
            f"train.resume={parameters.train.resume}: another process is training it; wait for its end, or stop it"
        )
    return ClaimedTraining(folder, start)
