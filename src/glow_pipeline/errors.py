"""The exceptions that are written for users, and those that end a training before its end."""


class GlowPipelineError(Exception):
    """An error that the user can fix.

    Its message is one line that names the key or file, the value, what is allowed, and what to do.
    The command line prints that line alone, without a traceback, and exits with a code other than 0.
    """


class NotAllowedError(GlowPipelineError):
    """Parameters of a search's trial that are invalid together, found before its training starts."""


class TrainingStopped(Exception):  # noqa: N818  # it is no error
    """The end of a training that was requested to stop, after its last step had been written to a checkpoint.

    Attributes:
        steps: the steps that have been taken; None: unknown, on a machine that keeps no checkpoints.
        exit_code: of the command, as shells report signals: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, steps: int | None, exit_code: int) -> None:
        super().__init__("stopped" if steps is None else f"stopped at step {steps}")
        self.steps, self.exit_code = steps, exit_code


class HelperFinished(TrainingStopped):
    """The end of a command that has only helped others: in a training, or with parts of a table or of scores.

    Whoever raises it has logged what was done.
    """

    def __init__(self) -> None:
        super().__init__(None, 0)


def stop_in(error: BaseException) -> TrainingStopped | None:
    """Return the end of a run that is no error, if it is this one or its cause: Kedro wraps those of datasets."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TrainingStopped):
        cause = cause.__cause__
    return cause


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
