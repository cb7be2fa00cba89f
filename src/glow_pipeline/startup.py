"""Fast imports of large packages."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

atexit.register(gc.unfreeze)  # extension modules write to stderr about objects that outlive Python


@contextmanager
def without_gc() -> Iterator[None]:
    """Disable garbage collection inside the block, and exempt all objects alive at its end from later collections.

    For imports of large packages, also as a decorator: they make a million lasting objects, and repeated collections of
    those took a fifth of the time to the first training step.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
