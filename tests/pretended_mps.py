"""A pretended Apple GPU: CPU tensors that behave as those of `mps`, and refuse what those refuse."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # before anything is pretended, since it looks at what is
import torchgen  # type: ignore[import-untyped]
import yaml
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

Copy = Callable[[Tensor, bool], Tensor]
MPS, CPU = torch.device("mps"), torch.device("cpu")
TOO_WIDE = (torch.float64, torch.complex128)
# Their inputs may be on different devices.
ACROSS_DEVICES = ("aten::copy_", "aten::index.Tensor", "aten::index_put_", "aten::index_put")


@cache
def without_kernel() -> frozenset[str]:
    """Return the names of torch's operators that its table gives kernels for a CPU, and none for MPS."""
    path = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    functions = {entry["func"].partition("(")[0]: entry for entry in yaml.safe_load(path.read_text(encoding="utf-8"))}

    def keys(name: str) -> set[str]:
        entry = functions[name]
        own = {key.strip() for several in entry.get("dispatch", {}) for key in several.split(",")}
        return own | (keys(entry["structured_delegate"]) if "structured_delegate" in entry else set())

    found = {name: keys(name) for name in functions}
    return frozenset(f"aten::{name}" for name, own in found.items() if "CPU" in own and "MPS" not in own)


class PretendedDevice:
    """The memory of the device: which storages are there.

    Attributes:
        used: names of the operators that have computed there.
        missing: names of the operators that it does not have.
    """

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.missing = set(without_kernel())
        self._storages: dict[int, StorageWeakRef] = {}

    def holds(self, tensor: Tensor) -> bool:
        with torch._C.DisableTorchFunction():
            reference = self._storages.get(_storage(tensor)._cdata)
        return reference is not None and not reference.expired()

    def take(self, tensor: Tensor) -> Tensor:
        """Have the tensor's memory on the device."""
        with torch._C.DisableTorchFunction():
            if tensor.dtype in TOO_WIDE:
                name = str(tensor.dtype).removeprefix("torch.")
                raise TypeError(
                    f"Cannot convert a MPS Tensor to {name} dtype as the MPS framework doesn't support {name}. Please "
                    f"use float32 instead."
                )
            storage = _storage(tensor)
            self._storages[storage._cdata] = StorageWeakRef(storage)
        return tensor


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor.untyped_storage()


class _Calls(TorchFunctionMode):
    """Moves tensors to the device and back, makes new ones there, and tells where they are."""

    def __init__(self, device: PretendedDevice, computing: "_Operators") -> None:
        super().__init__()
        self.device, self.computing = device, computing

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (Tensor.device.__get__, Tensor.is_mps.__get__, Tensor.is_cpu.__get__):  # type: ignore[attr-defined]
            there = self.device.holds(args[0])
            if func == Tensor.device.__get__:
                return MPS if there else func(*args)
            return there == (func == Tensor.is_mps.__get__)  # type: ignore[attr-defined]
        if func in (Tensor.numpy, Tensor.__array__) and self.device.holds(args[0]):
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() to copy it to the host.")
        if func == Tensor.pin_memory:
            raise RuntimeError("Need to provide pin_memory allocator to use pin memory.")
        if func == Tensor.backward:
            with self:  # which torch has switched off in here
                return torch.autograd.backward(args[0], kwargs.pop("gradient"), **kwargs)
        if func in (torch.autograd.backward, torch.autograd.grad):
            with self, pytest.MonkeyPatch.context() as patch:
                patch.setattr("torch.autograd.has_torch_function", lambda tensors: False)
                return func(*args, **kwargs)
        if func == Tensor.cpu:
            return self._moved(args[0], CPU)
        if func == Tensor.to:
            return self._converted(*args, **kwargs)
        if getattr(kwargs.get("generator"), "on_mps", False) or _is_mps(kwargs.get("device")):
            return self._made(func, args, kwargs)
        return func(*args, **kwargs)

    def _made(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        generator, device = kwargs.get("generator"), kwargs.get("device")
        if generator is not None and getattr(generator, "on_mps", False) != _is_mps(device):
            raise RuntimeError(f"Expected a '{device}' device type for generator but found another")
        return self.device.take(func(*args, **{**kwargs, "device": CPU}))

    def _converted(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        args = tuple(part for given in args for part in (self._as(given) if isinstance(given, Tensor) else (given,)))
        if "other" in kwargs:
            args = (*args, *self._as(kwargs.pop("other")))
        devices = [given for given in args if isinstance(given, torch.device | str)]
        dtypes = [given for given in args if isinstance(given, torch.dtype)]
        wanted = kwargs.pop("device", devices[0] if devices else None)
        kwargs |= {"dtype": dtypes[0]} if dtypes else {}
        if wanted is not None and not _is_mps(wanted):
            tensor = self._moved(tensor, CPU)
        tensor = tensor.to(**kwargs) if kwargs else tensor
        return tensor if wanted is None else self._moved(tensor, wanted)

    def _as(self, other: Tensor) -> tuple[torch.device, torch.dtype]:
        return (MPS if self.device.holds(other) else CPU), other.dtype

    def _moved(self, tensor: Tensor, device: torch.device | str) -> Tensor:
        if self.device.holds(tensor) == _is_mps(device):
            return tensor
        if tensor.requires_grad and torch.is_grad_enabled():
            moved: Tensor = _Move.apply(tensor, self.copied, _is_mps(device))
            return moved
        return self.copied(tensor, _is_mps(device))

    def copied(self, tensor: Tensor, there: bool) -> Tensor:
        """Copy a tensor to the device, or from it."""
        with self.computing.paused():
            copy = tensor.clone()
        return self.device.take(copy) if there else copy


class _Move(torch.autograd.Function):
    """A copy to the device or from it, whose gradient goes the other way."""

    generate_vmap_rule = True

    @staticmethod
    def forward(tensor: Tensor, copied: Copy, there: bool) -> Tensor:
        return copied(tensor, there)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Copy, bool], output: Tensor) -> None:
        _, ctx.copied, ctx.there = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.copied(gradient, not ctx.there), None, None


class _Operators(TorchDispatchMode):
    """Computes on the device: its results are there, and everything that it lacks is an error."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self.device, self._paused = device, False

    @contextmanager
    def paused(self) -> Iterator[None]:
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        there = [self.device.holds(tensor) for tensor in inputs]
        if self._paused or not any(there):
            return func(*args, **kwargs)
        name = func.name()
        if name in self.device.missing:
            raise NotImplementedError(f"The operator '{name}' is not currently implemented for the MPS device.")
        elsewhere = [tensor for tensor, on_device in zip(inputs, there, strict=True) if not on_device]
        if name not in ACROSS_DEVICES and any(tensor.ndim for tensor in elsewhere):
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found mps:0 and cpu!")
        result = func(*args, **kwargs)
        if name == "aten::copy_" and not there[0]:
            return result  # from the device
        self.device.used.add(name)
        return tree_map_only(Tensor, self.device.take, result)


class PretendedGenerator(torch.Generator):
    """A generator that may be one of the device."""

    def __new__(cls, device: Any = "cpu") -> "PretendedGenerator":
        made = super().__new__(cls, CPU)  # type: ignore[call-arg]
        made.on_mps = _is_mps(device)
        return made

    on_mps: bool

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return MPS if self.on_mps else CPU


def _is_mps(device: Any) -> bool:
    return device is not None and torch.device(device).type == "mps"


@contextmanager
def pretended_mps(missing: tuple[str, ...] = ()) -> Iterator[PretendedDevice]:
    """Have an Apple GPU within the block, in this thread.

    Args:
        missing: names of operators that it lacks too, as "aten::mm".
    """
    device = PretendedDevice()
    device.missing |= set(missing)
    computing = _Operators(device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", PretendedGenerator)
        patch.setattr(torch.backends.mps, "is_available", lambda: True)
        patch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: True)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        with _Calls(device, computing), computing:
            yield device
