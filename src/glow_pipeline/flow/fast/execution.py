"""Options of the fast path: they change what a training step costs, and not the flow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import torch

Activations = Literal["stored", "checkpointed", "reversible"]
Precision = Literal["float32", "tf32", "bfloat16"]

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Execution:
    """Options of a pass with gradients. Passes without gradients, and so scores and samples, do not use them.

    Attributes:
        activations: the activations that a training step keeps for its backward pass.
        precision: precision of the coupling networks' convolutions. The state of the flow, the log-determinants and all
            sums stay in the flow's own dtype.
        compiled: let torch.compile write the kernels of a step's two passes. They are compiled once for each level,
            not for each step.
    """

    activations: Activations = "stored"
    precision: Precision = "float32"
    compiled: bool = False

    @property
    def network_dtype(self) -> torch.dtype | None:
        """The dtype to which the networks' weights and inputs are cast; None: no cast."""
        return torch.bfloat16 if self.precision == "bfloat16" else None

    @contextmanager
    def convolution_precision(self) -> Iterator[None]:
        """Let a GPU round the factors of float32 convolutions to TF32 within this block, or not."""
        convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # torch does not declare it
        before = convolutions.fp32_precision
        convolutions.fp32_precision = "tf32" if self.precision == "tf32" else "ieee"
        try:
            yield
        finally:
            convolutions.fp32_precision = before

    def maybe_compiled(self, function: Function) -> Function:
        """Return the function, compiled if that is chosen."""
        return _compiled(function) if self.compiled else function


@cache
def _compiled(function: Function) -> Function:
    # Static shapes: each level has its own kernels, and all batches have one size.
    compiled: Function = torch.compile(function, dynamic=False)  # type: ignore[assignment]
    return compiled
