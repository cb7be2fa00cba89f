"""Which training a command goes on with: the one that the same command began and did not end."""

import hashlib
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.checkpoint import Checkpoint, TrainingFolder, read_checkpoint

PATIENCE = 10.0  # seconds

logger = logging.getLogger(__name__)

# What a training may go on with another value of: how long it is, how it is computed and watched, what comes after it.
FREE = {
    "out_dataset",
    "stored_model",
    "device",
    "ingest.num_workers",
    *(
        f"train.{name}"
        for name in (
            "n_epochs",
            "early_stopping",
            "sample_and_save_freq",
            "checkpoint_every",
            "keep_checkpoints",
            "resume",
            "activations",
            "compile",
            "accumulate",
            "data_on_device",
            "num_workers",
            "devices",
            "nodes",
            "rendezvous",
            "max_restarts",
            "threads",
        )
    ),
}
FREE_GROUPS = ("sample", "ood", "search", "own")


@dataclass(frozen=True)
class Training:
    """A training that this process has claimed.

    Attributes:
        folder: of its checkpoints; None on a machine that only helps.
        start: the checkpoint from which it goes on, without its tensors; None at its beginning.
    """

    folder: TrainingFolder | None
    start: Checkpoint | None = None

    @property
    def mlflow_run_id(self) -> str | None:
        """Of the run in which it began, if it goes on."""
        return self.start.facts["mlflow_run_id"] if self.start is not None else None

    def discard(self) -> None:
        """Delete its checkpoints, and what folders they leave empty: nobody will go on with it."""
        if self.folder is not None:
            self.folder.release()
            shutil.rmtree(self.folder.path, ignore_errors=True)
            with suppress(OSError):  # others have trainings there
                for above in self.folder.path.parents[:2]:
                    above.rmdir()


def identity(parameters: Parameters) -> dict[str, Any]:
    """What must not change from one stop of a training to the next, by dotted names; values as JSON has them."""
    dumped = json.loads(parameters.model_dump_json())
    flat: dict[str, Any] = {}
    for group, value in dumped.items():
        if group not in FREE_GROUPS:
            flat |= (
                {f"{group}.{name}": leaf for name, leaf in value.items()} if isinstance(value, dict) else {group: value}
            )
    return {name: value for name, value in flat.items() if name not in FREE}


def fingerprint(parameters: Parameters) -> str:
    """Of the identity: 12 hex digits, for a folder's name."""
    return hashlib.sha256(json.dumps(identity(parameters), sort_keys=True).encode()).hexdigest()[:12]


def claim_training(parameters: Parameters, root: Path, session: str) -> Training:
    """Find the training that these parameters mean, and make this process the one that trains it.

    Args:
        root: the folder that holds the trainings, by fingerprint and by the session in which each began.
        session: the present one.

    Raises:
        GlowPipelineError: the training that `train.resume` names is another one, or another process trains it.
    """
    if parameters.train.resume not in ("auto", "never"):
        return _claim_named(parameters)
    alike = root / fingerprint(parameters)
    if parameters.train.resume == "auto":
        for path in sorted(alike.glob("*/"), reverse=True):
            folder = TrainingFolder(path)
            if folder.finished or not folder.claim():
                continue
            # Only now nobody else can finish it.
            if not folder.finished and (training := _going_on(folder, parameters)) is not None:
                return training
            folder.release()
    folder = TrainingFolder(alike / session)
    # Another process that looks for a training to go on with may hold it for the moment in which it finds it empty.
    if not folder.claim(patience=PATIENCE):
        raise GlowPipelineError(f"{folder.path}: another process trains there; type the same command again")
    return Training(folder)


def _going_on(folder: TrainingFolder, parameters: Parameters) -> Training | None:
    start = folder.newest(with_tensors=False)
    if start is None:
        return None
    history = start.facts["history"]
    if len(history["epochs"]) > parameters.train.n_epochs:
        logger.info("%s: is beyond train.n_epochs=%s already; a new training", folder.path, parameters.train.n_epochs)
        return None
    logger.info(
        "Cut off before: this training goes on from step %s, epoch %s (%s); train.resume=never begins anew.",
        history["steps"],
        len(history["epochs"]) + 1,
        folder.path,
    )
    return Training(folder, start)


def check_resume(parameters: Parameters) -> None:
    """What can be known early of a `train.resume` that names a checkpoint.

    Raises:
        GlowPipelineError: there is none, or it is of another training: the difference is told.
    """
    if parameters.train.resume in ("auto", "never"):
        return
    facts = _named(parameters).facts
    differences = [
        f"{name}={shown(ours)} instead of {shown(facts['identity'].get(name))}"
        for name, ours in identity(parameters).items()
        if ours != facts["identity"].get(name)
    ]
    if differences:
        raise GlowPipelineError(
            f"train.resume={parameters.train.resume}: that training is another one: here {', '.join(differences)}; "
            f"give it its own parameters, or begin a new one with train.resume=auto"
        )
    done = len(facts["history"]["epochs"])
    if done > parameters.train.n_epochs:
        raise GlowPipelineError(
            f"train.n_epochs={parameters.train.n_epochs}: the training of train.resume={parameters.train.resume} has "
            f"{done} epochs already; set train.n_epochs to {done} or more"
        )


def shown(value: object) -> str:
    """As it is typed."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _named(parameters: Parameters) -> Checkpoint:
    """The checkpoint that `train.resume` means, without its tensors; of a folder the newest whole one.

    If a command that went on from the named file was cut off, it is that one's newest: the same command, typed again,
    loses nothing, even if the named file itself is not among those that were kept.
    """
    path = Path(parameters.train.resume)
    newest = TrainingFolder(path if path.is_dir() else path.parent).newest(with_tensors=False)
    if newest is not None and (path.is_dir() or path == newest.path or path.name in newest.facts["resumed_from"]):
        return newest
    if path.is_dir():
        raise GlowPipelineError(f"train.resume={path}: no whole checkpoint is there; give the folder of a training")
    try:
        return read_checkpoint(path, with_tensors=False)
    except GlowPipelineError as error:
        raise GlowPipelineError(f"train.resume={error} (or auto, or never)") from error


def _claim_named(parameters: Parameters) -> Training:
    start = _named(parameters)
    folder = TrainingFolder(cast(Path, start.path).parent)
    if not folder.claim():
        raise GlowPipelineError(
            f"train.resume={parameters.train.resume}: another process is training it; wait for its end, or stop it"
        )
    return Training(folder, start)
