"""The kinds of kernels, and whether Triton compiles or interprets them. Needs no Triton, like `support`."""

import os
from typing import Literal

Kernel = Literal["forward", "inverse", "training"]


def interpreted() -> bool:
    """Return whether Triton computes kernels on the CPU, for tests; it reads the variable when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"
