"""The checkpoint that `train.resume` names."""

from pathlib import Path

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, as_typed
from glow_pipeline.training.checkpoint import Checkpoint, OtherFormatError, read_checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.identity import ADDED, identity


def check_resume(parameters: Parameters) -> None:
    """Check a `train.resume` that names a checkpoint before anything starts.

    Raises:
        GlowPipelineError: there is none, or it is of another training, with the differences.
    """
    if parameters.train.resume in ("auto", "never"):
        return
    record = named_checkpoint(parameters).record
    before = {**ADDED, **record.identity}
    differences = [
        f"{name}={as_typed(now)} instead of {as_typed(before.get(name))}"
        for name, now in {**ADDED, **identity(parameters)}.items()
        if now != before.get(name)
    ]
    if differences:
        raise GlowPipelineError(
            f"train.resume={parameters.train.resume}: that training is another one: here {', '.join(differences)}; "
            f"give it its own parameters, or start a new one with train.resume=auto"
        )
    done = len(record.history.epochs)
    if done > parameters.train.n_epochs:
        raise GlowPipelineError(
            f"train.n_epochs={parameters.train.n_epochs}: the training of train.resume={parameters.train.resume} has "
            f"{done} epochs already; set train.n_epochs to {done} or more"
        )


def named_checkpoint(parameters: Parameters) -> Checkpoint:
    """Return the checkpoint that `train.resume` names, without its tensors; of a folder the newest complete one.

    If a command that resumed from the named file was interrupted, return that command's newest checkpoint: the same
    command, typed again, loses nothing, even if the named file itself has been deleted meanwhile.
    """
    path = Path(parameters.train.resume)
    try:
        newest = TrainingFolder(path if path.is_dir() else path.parent).newest(with_tensors=False)
    except OtherFormatError as error:
        raise GlowPipelineError(f"train.resume={error}") from error
    if newest is not None and (path.is_dir() or path == newest.path or path.name in newest.record.resumed_from):
        return newest
    if path.is_dir():
        raise GlowPipelineError(f"train.resume={path}: it holds no complete checkpoint; give the folder of a training")
    try:
        return read_checkpoint(path, with_tensors=False)
    except GlowPipelineError as error:
        raise GlowPipelineError(f"train.resume={error} (or auto, or never)") from error
