"""Options of the fast path: they change what a pass costs, and not the flow."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Literal, TypeVar

import torch

Activations = Literal["stored", "checkpointed", "reversible"]
Precision = Literal["float32", "tf32", "bfloat16"]

Function = TypeVar("Function", bound=Callable[..., object])


class _ProcessSetting:
    """A setting of torch that belongs to the process, and that blocks in one or several threads want otherwise.

    The value of the latest block that has not ended holds. After the last block it is what it was before the first, in
    whatever order blocks of several threads end.

    Args:
        owner, name: the object with the setting, and its attribute.
    """

    def __init__(self, owner: object, name: str) -> None:
        self._owner, self._name = owner, name
        self._lock = Lock()
        self._wanted: dict[object, str] = {}  # a block -> its value, in the order in which blocks began

    @contextmanager
    def set_to(self, value: str) -> Iterator[None]:
        block = object()
        with self._lock:
            if not self._wanted:
                self._before = getattr(self._owner, self._name)
            self._wanted[block] = value
            setattr(self._owner, self._name, value)
        try:
            yield
        finally:
            with self._lock:
                del self._wanted[block]
                setattr(self._owner, self._name, next(reversed(self._wanted.values()), self._before))


_CONVOLUTIONS = _ProcessSetting(torch.backends.cudnn.conv, "fp32_precision")  # type: ignore[attr-defined]  # not declared
_PRODUCTS = _ProcessSetting(torch.backends.cuda.matmul, "fp32_precision")


@contextmanager
def float32_convolutions(factors: Literal["ieee", "tf32"] = "ieee") -> Iterator[None]:
    """Have cuDNN take the factors of float32 convolutions as they are within the block, or rounded to TF32.

    Rounded is torch's default. It is restored at the end, because other code in the process may read it through
    torch's older settings, which raise an error at any other value.
    """
    with _CONVOLUTIONS.set_to(factors):
        yield


@dataclass(frozen=True)
class Execution:
    """Options of a pass with gradients. Passes without, and so scores and samples, use none of them but `kernels`.

    Attributes:
        activations: the activations that a training step keeps for its backward pass.
        precision: precision of the coupling networks' convolutions. The state of the flow, the log-determinants and all
            sums stay in the flow's own dtype.
        compiled: let torch.compile write kernels for the passes of a training step. They are compiled once for each
            level, not for each step of flow.
        products: compute the networks' convolutions as matrix products (`fast/products`), or by kernels: faster on a
            GPU if compiled, slower on a CPU.
        kernels: compute whole levels by the kernels of `fast/kernels`, also in passes without gradients. None: where a
            GPU has them; True: also on a CPU, where tests have Triton interpret them; False: never.
    """

    activations: Activations = "stored"
    precision: Precision = "float32"
    compiled: bool = False
    products: bool = False
    kernels: bool | None = None

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
        with _PRODUCTS.set_to("tf32" if self.precision == "tf32" else "ieee"):
            yield

    def maybe_compiled(self, function: Function) -> Function:
        """Return the function, compiled if that is chosen."""
        return _compiled(function) if self.compiled else function


@cache
def _compiled(function: Function) -> Function:
    # Static shapes: each level has its own kernels, and all batches have one size. Deterministic: otherwise each
    # process chooses the order of its sums by its own timings, and a resumed training may have other bits.
    compiled: Function = torch.compile(function, dynamic=False, options={"deterministic": True})  # type: ignore[assignment]
    return compiled
