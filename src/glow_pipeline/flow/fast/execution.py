"""Options of the fast path: they change what a training step costs, and not the flow."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import torch

Activations = Literal["stored", "checkpointed", "reversible"]
Precision = Literal["float32", "tf32", "bfloat16"]

Function = TypeVar("Function", bound=Callable[..., object])


@contextmanager
def float32_convolutions(factors: Literal["ieee", "tf32"] = "ieee") -> Iterator[None]:
    """Have cuDNN take the factors of float32 convolutions as they are within the block, or rounded to TF32.

    Rounded is torch's default. It is restored at the end, because other code in the process may read it through
    torch's older settings, which raise an error at any other value.
    """
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # torch does not declare it
    before = convolutions.fp32_precision
    convolutions.fp32_precision = factors
    try:
        yield
    finally:
        convolutions.fp32_precision = before


@dataclass(frozen=True)
class Execution:
    """Options of a pass with gradients. Passes without gradients, and so scores and samples, do not use them.

    Attributes:
        activations: the activations that a training step keeps for its backward pass.
        precision: precision of the coupling networks' convolutions. The state of the flow, the log-determinants and all
            sums stay in the flow's own dtype.
        compiled: let torch.compile write the kernels of a step's two passes. They are compiled once for each level,
            not for each step.
        products: compute the networks' convolutions as matrix products (`fast/products.py`): faster on a GPU, and only
            if it is compiled, slower on a CPU.
    """

    activations: Activations = "stored"
    precision: Precision = "float32"
    compiled: bool = False
    products: bool = False

    @property
    def network_dtype(self) -> torch.dtype | None:
        """The dtype to which the networks' weights and inputs are cast; None: no cast."""
        return torch.bfloat16 if self.precision == "bfloat16" else None

    def convolution_precision(self) -> AbstractContextManager[None]:
        """Have a GPU compute the networks' float32 convolutions with this precision within the block."""
        return float32_convolutions("tf32" if self.precision == "tf32" else "ieee")

    @contextmanager
    def product_precision(self) -> Iterator[None]:
        """Have a GPU compute float32 matrix products with this precision within the block."""
        products: Any = torch.backends.cuda.matmul
        before = products.fp32_precision
        products.fp32_precision = "tf32" if self.precision == "tf32" else "ieee"
        try:
            yield
        finally:
            products.fp32_precision = before

    def maybe_compiled(self, function: Function) -> Function:
        """Return the function, compiled if that is chosen."""
        return _compiled(function) if self.compiled else function


@cache
def _compiled(function: Function) -> Function:
    # Static shapes: each level has its own kernels, and all batches have one size. Deterministic: otherwise each
    # process chooses the order of its sums by its own timings, and a resumed training may have other bits.
    compiled: Function = torch.compile(function, dynamic=False, options={"deterministic": True})  # type: ignore[assignment]
    return compiled
