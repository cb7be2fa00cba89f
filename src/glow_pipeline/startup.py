"""When Python looks for garbage."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

atexit.register(gc.unfreeze)  # extension modules complain on stderr of objects that outlive Python


@contextmanager
def without_gc() -> Iterator[None]:
    """Do not look for garbage within this block, nor ever after among what is there at its end. Also a decorator.

    For imports of large packages: they make a million objects, and all of them stay. Python goes through those again
    and again to find the few that are in cycles without use, which took a fifth of the time to the first training step.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
