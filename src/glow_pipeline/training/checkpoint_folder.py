"""The folder of a training's checkpoints, and the schedule by which they are written."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.training.checkpoint import (
    NAME,
    UNNAMED,
    Checkpoint,
    OtherFormatError,
    read_checkpoint,
    write_checkpoint,
)

logger = logging.getLogger(__name__)


class TrainingFolder:
    """The checkpoints of one training, from its start to its end, however often it is stopped in between.

    Args:
        path: path of the folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / "lock")
        self._finished = path / "finished"

    def __repr__(self) -> str:
        return f"TrainingFolder({self.path})"

    def claim(self, patience: float = 0.0) -> bool:
        """Reserve the folder for this process until it ends, however it ends; return False if another process has it.

        Args:
            patience: seconds to wait for the other process to release it.

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
        for incomplete in self.path.glob(f"*{UNNAMED}"):  # of a process that was killed while it wrote
            incomplete.unlink(missing_ok=True)
        return True

    def release(self) -> None:
        self._lock.release()

    @property
    def finished(self) -> bool:
        """Return whether the command that trained here has ended, so that the same command starts a new training."""
        return self._finished.exists()

    def finish(self) -> None:
        """Mark this training as finished. Its last checkpoint stays, for a later one with more epochs."""
        self._finished.touch()
        self.keep_newest(1)

    @property
    def checkpoints(self) -> list[Path]:
        """Return the paths, oldest first."""
        found = [path for path in self.path.glob("step_*") if NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: (path.name.partition(".")[0], path.stat().st_mtime_ns))

    @property
    def last_step(self) -> int | None:
        """Return the step of the newest checkpoint by its name alone; None if there is none."""
        names = [NAME.fullmatch(path.name) for path in self.checkpoints[-1:]]
        return int(names[0][1]) if names and names[0] else None

    def newest(self, *, with_tensors: bool = True) -> Checkpoint | None:
        """Return the newest complete checkpoint, with a warning for each newer one that cannot be read.

        Raises:
            OtherFormatError: another version of the project has trained here.
        """
        for path in reversed(self.checkpoints):
            try:
                return read_checkpoint(path, with_tensors=with_tensors)
            except OtherFormatError:  # so are those before it
                raise
            except GlowPipelineError as damaged:
                logger.warning("%s", damaged)
        return None

    def write(self, checkpoint: Checkpoint, keep: int) -> Path:
        """Write a checkpoint, and only then delete all but the newest `keep`.

        Later checkpoints than this are deleted too: the training was resumed from an earlier one, so they are not part
        of it any more. A finished training is not finished any more.
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
    """Writes a training's checkpoints at intervals.

    Args:
        folder: folder to write to.
        every: interval from one checkpoint to the next.
        keep: how many checkpoints remain at most.
        clock: returns seconds.
        before: writes what a training that resumes from the checkpoint will need beside it.
    """

    def __init__(
        self,
        folder: TrainingFolder,
        every: Interval,
        keep: int,
        clock: Callable[[], float] = time.monotonic,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.folder, self._every, self._keep, self._clock, self._before = folder, every, keep, clock, before
        self._last_time, self._last_step = clock(), 0

    def due(self, step: int) -> bool:
        if self._every.unit == "steps":
            return step - self._last_step >= self._every.every
        return self._clock() - self._last_time >= 60 * self._every.every

    def start(self, step: int) -> None:
        """Count from this step and moment."""
        self._last_time, self._last_step = self._clock(), step

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint.

        Raises:
            GlowPipelineError: it cannot be written; earlier ones are unchanged.
        """
        try:
            if self._before is not None:
                self._before()
            self.folder.write(checkpoint, self._keep)
        except (OSError, SafetensorError, GlowPipelineError) as error:
            cause = error.__cause__ or error
            reason = cause.strerror if isinstance(cause, OSError) else cause
            raise GlowPipelineError(
                f"{self.folder.path}: the checkpoint of step {checkpoint.step} cannot be written ({reason}); "
                f"make room there and type the same command again, it resumes from the checkpoint before"
            ) from error
        self.start(checkpoint.step)
