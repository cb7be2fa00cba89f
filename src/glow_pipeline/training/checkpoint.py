"""Checkpoints: files from which a training goes on as if it had never stopped.

A checkpoint is a safetensors file whose name holds its step and the start of its own SHA-256, so that a file that was
cut off or altered is known before anything of it is used. No file of another kind, a pickle least of all, is opened.
"""

import json
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import rename_whole, sha256, written_whole
from glow_pipeline.parameters.interval import Interval

HEADER_KEY = "glow_pipeline_checkpoint"
FORMAT = 2  # 1, without a number: until November 2026
NAME = re.compile(r"step_(\d{9})\.([0-9a-f]{16})\.safetensors")

UNNAMED = "unnamed.safetensors"  # until its digest is known; the next one replaces what a kill leaves here

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    Attributes:
        tensors: weights, optimiser and all else that is numbers, by name.
        facts: the rest; what JSON can hold.
        path: the file that it was read from.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    path: Path | None = None

    @property
    def step(self) -> int:
        """How many steps had been taken."""
        return int(self.facts["history"]["steps"])


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint whole or not at all, and return its path."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    unnamed = folder / UNNAMED
    with written_whole(unnamed) as temporary:
        save_file(tensors, temporary, metadata={HEADER_KEY: json.dumps({"format": FORMAT, **checkpoint.facts})})
    path = folder / f"step_{checkpoint.step:09d}.{sha256(unnamed)[:16]}.safetensors"
    rename_whole(unnamed, path)
    return path


def read_checkpoint(path: Path, *, with_tensors: bool = True, check: bool = True) -> Checkpoint:
    """Read a checkpoint, its tensors on the CPU, or its facts alone.

    Args:
        check: the file's digest; not if this command has done that already, since it takes a second a gigabyte.

    Raises:
        GlowPipelineError: no such file, or it is damaged, not a checkpoint, or of another format.
    """
    name = NAME.fullmatch(path.name)
    if name is None or not path.is_file():
        what = "no such file" if name else "not a checkpoint; these are called step_<step>.<digest>.safetensors"
        raise GlowPipelineError(f"{path}: {what}; give the path of a checkpoint, or the folder that holds them")
    try:
        if check and not sha256(path).startswith(name[2]):
            raise GlowPipelineError(
                f"{path}: damaged, its SHA-256 is not the one in its name; use the checkpoint before it"
            )
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[HEADER_KEY])
            _check_format(path, facts.pop("format", 1), facts)
            tensors = {key: file.get_tensor(key) for key in file.keys()} if with_tensors else {}  # noqa: SIM118
    except OSError as error:
        raise GlowPipelineError(f"{path}: cannot be read ({error.strerror}); use the checkpoint before it") from None
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as other:
        raise GlowPipelineError(f"{path}: not a checkpoint of this project ({other}); use one that is") from None
    return Checkpoint(tensors, facts, path)


def _check_format(path: Path, written_in: int, facts: dict[str, Any]) -> None:
    """Refuse other formats: a training resumes to the same bits only by the code that started it."""
    if written_in != FORMAT:
        commit = facts.get("provenance", {}).get("git_commit") or "unknown"
        raise GlowPipelineError(
            f"{path}: a checkpoint of format {written_in}, and this version reads {FORMAT}; resume it with the commit "
            f"that wrote it ({commit}), or begin a new training with train.resume=never"
        )


class TrainingFolder:
    """The checkpoints of one training, from its beginning to its end, however often it is stopped on the way.

    Args:
        path: need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / "lock")
        self._finished = path / "finished"

    def __repr__(self) -> str:
        return f"TrainingFolder({self.path})"

    def claim(self, patience: float = 0.0) -> bool:
        """Make this process the one that writes here, until it ends, however it ends; False if another one is.

        Args:
            patience: seconds to wait for another one to let go.

        Raises:
            GlowPipelineError: the folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=patience)
        except Timeout:
            return False
        except OSError as error:
            raise GlowPipelineError(
                f"{self.path}: cannot be written to ({error.strerror}); make it writable, or work in another folder"
            ) from error
        for half in self.path.glob(f"*{UNNAMED}"):  # left by a process that was killed while it wrote
            half.unlink(missing_ok=True)
        return True

    def release(self) -> None:
        self._lock.release()

    @property
    def finished(self) -> bool:
        """Whether the command that trained here came to its end, so that typing it again means a new training."""
        return self._finished.exists()

    def finish(self) -> None:
        """Say that this training is over. Its last checkpoint stays, for those who want more epochs later."""
        self._finished.touch()
        self.keep_newest(1)

    @property
    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        found = [path for path in self.path.glob("step_*") if NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: (path.name.partition(".")[0], path.stat().st_mtime_ns))

    def newest(self, *, with_tensors: bool = True) -> Checkpoint | None:
        """The newest one that is whole, with a warning for each that is not."""
        for path in reversed(self.checkpoints):
            try:
                return read_checkpoint(path, with_tensors=with_tensors)
            except GlowPipelineError as damaged:
                logger.warning("%s", damaged)
        return None

    def write(self, checkpoint: Checkpoint, keep: int) -> Path:
        """Write a checkpoint, and only then delete all but the newest `keep`.

        Later ones than this go too: the training went on from one before them, so they are no part of it any more. And
        if it was finished before, it is not now.
        """
        path = write_checkpoint(self.path, checkpoint)
        for later in self.checkpoints[self.checkpoints.index(path) + 1 :]:
            later.unlink(missing_ok=True)
        self._finished.unlink(missing_ok=True)
        self.keep_newest(keep)
        return path

    def keep_newest(self, keep: int) -> None:
        for path in self.checkpoints[:-keep]:
            path.unlink(missing_ok=True)


class CheckpointSchedule:
    """Writes a training's checkpoints when it is time.

    Args:
        every: counted from the last one.
        keep: how many there are at most.
        facts: what each of them says beside the training's own state.
    """

    def __init__(self, folder: TrainingFolder, every: Interval, keep: int, facts: dict[str, Any]) -> None:
        self.folder, self._every, self._keep, self._facts = folder, every, keep, facts
        self._last_time, self._last_step = time.monotonic(), 0

    def due(self, step: int) -> bool:
        if self._every.unit == "steps":
            return step - self._last_step >= self._every.every
        return time.monotonic() - self._last_time >= 60 * self._every.every

    def begin(self, step: int) -> None:
        """Count from here."""
        self._last_time, self._last_step = time.monotonic(), step

    def write(self, checkpoint: Checkpoint) -> None:
        """Write it.

        Raises:
            GlowPipelineError: it cannot be written; those before it are as they were.
        """
        facts = {**self._facts, **checkpoint.facts}
        try:
            self.folder.write(Checkpoint(checkpoint.tensors, facts), self._keep)
        except (OSError, SafetensorError, GlowPipelineError) as error:
            cause = error.__cause__ or error
            reason = cause.strerror if isinstance(cause, OSError) else cause
            raise GlowPipelineError(
                f"{self.folder.path}: the checkpoint of step {checkpoint.step} cannot be written ({reason}); "
                f"make room there and type the same command again, it goes on from the checkpoint before"
            ) from error
        self.begin(checkpoint.step)
