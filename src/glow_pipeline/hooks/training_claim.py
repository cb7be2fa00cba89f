"""The training that a run resumes or starts, held until the run ends."""

from pathlib import Path
from types import TracebackType
from typing import Self

from glow_pipeline.parameters import Parameters
from glow_pipeline.training.distributed.machines import machine_rank
from glow_pipeline.training.resume import ClaimedTraining, claim_training


class TrainingClaim:
    """A claim on a training. A context manager, which at its end releases the training for other processes.

    A training is finished only when it has run and the command has ended without an error: the same command, typed
    again after it was killed in the evaluation, resumes there.

    Attributes:
        training: the claimed training.
        trained: whether the run has stored the trained model; set by the caller.
    """

    def __init__(self, training: ClaimedTraining) -> None:
        self.training, self.trained = training, False

    @classmethod
    def claim(cls, parameters: Parameters, checkpoints: Path, session: str) -> Self:
        """Claim the training that these parameters mean.

        Args:
            parameters: all parameters of the command.
            checkpoints: the folder of all trainings.
            session: name of the present session.

        Raises:
            GlowPipelineError: `train.resume` names another training, or another process trains it.
        """
        if machine_rank(parameters.train.nodes) > 0:
            return cls(ClaimedTraining(None))
        return cls(claim_training(parameters, checkpoints, session))

    @property
    def only_helps(self) -> bool:
        """Return whether this machine only helps another one to train, which keeps the records."""
        return self.training.folder is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.training.folder is None:
            return
        try:
            if self.trained and error is None:
                self.training.folder.finish()
        finally:
            self.training.folder.release()
