"""How a flow is computed: what that costs, and not what the flow is."""

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
    """The choices. Passes without gradients, and so all scores and samples, make none of them.

    Attributes:
        activations: what a training step keeps for its backward pass.
        precision: of the coupling networks' convolutions in a pass with gradients. The state of the flow, the
            log-determinants and all sums stay in the flow's own dtype.
        compiled: let torch.compile write the kernels of a step's two passes. They are compiled once a level,
            however many steps it has.
    """

    activations: Activations = "stored"
    precision: Precision = "float32"
    compiled: bool = False

    @property
    def network_dtype(self) -> torch.dtype | None:
        """What the networks' weights and inputs are cast to; None: they are not."""
        return torch.bfloat16 if self.precision == "bfloat16" else None

    @contextmanager
    def of_convolutions(self) -> Iterator[None]:
        """Within this block a GPU rounds the factors of float32 convolutions to TF32, or does not."""
        convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # torch does not declare it
        before = convolutions.fp32_precision
        convolutions.fp32_precision = "tf32" if self.precision == "tf32" else "ieee"
        try:
            yield
        finally:
            convolutions.fp32_precision = before

    def of_region(self, function: Function) -> Function:
        """The function as it is, or compiled."""
        return _compiled(function) if self.compiled else function


@cache
def _compiled(function: Function) -> Function:
    # Static shapes: each level has its own kernels, and batches are of one size.
    compiled: Function = torch.compile(function, dynamic=False)  # type: ignore[assignment]
    return compiled
