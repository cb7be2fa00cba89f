"""Errors that the user can fix, as one line instead of a traceback."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from glow_pipeline.device import unsupported_operation
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.permissions import not_permitted

NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn an error that the user can fix into click's own, whose message is shown without a traceback."""
    try:
        yield
    except click.ClickException:
        raise
    except (GlowPipelineError, OSError) as error:
        line = line_of(error)
        if line is None:
            raise
        raise click.ClickException(line) from None


def line_of(error: BaseException) -> str | None:
    """Return the line for the user of an error or of its first cause that has one; None if none has."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, GlowPipelineError):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in NOT_PERMITTED and cause.filename:
            return not_permitted(Path(os.fsdecode(cause.filename)))
        if (line := unsupported_operation(cause)) is not None:
            return line
        cause = cause.__cause__
    return None
