"""The exceptions that are written for users."""


class GlowPipelineError(Exception):
    """A mistake that the user can put right.

    Its message is one line that names the key or file, the value, what is allowed, and what to do.
    The command line prints that line alone, without a traceback, and exits with a code other than 0.
    """


class NotAllowedError(GlowPipelineError):
    """Parameters of a search's trial that do not go together, found before its training starts; others may."""


class TrainingStopped(Exception):  # noqa: N818  # it is no error
    """A training was asked to stop and did, after its last step had been written to a checkpoint.

    Attributes:
        steps: the steps that have been taken.
        exit_code: of the command, as shells report signals: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, steps: int, exit_code: int) -> None:
        super().__init__(f"stopped at step {steps}")
        self.steps, self.exit_code = steps, exit_code
