"""The one exception that a user is meant to read."""


class GlowPipelineError(Exception):
    """A mistake that the user can put right.

    Its message is one line that names the key or file, the value, what is allowed, and what to do.
    The command line prints that line alone, without a traceback, and exits with a code other than 0.
    """
