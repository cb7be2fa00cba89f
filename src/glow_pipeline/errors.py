"""The exceptions that are written for users."""


class GlowPipelineError(Exception):
    """A mistake that the user can put right.

    Its message is one line that names the key or file, the value, what is allowed, and what to do.
    The command line prints that line alone, without a traceback, and exits with a code other than 0.
    """


class NotAllowedError(GlowPipelineError):
    """Parameters of a search's trial that do not go together, found before its training starts; others may."""
