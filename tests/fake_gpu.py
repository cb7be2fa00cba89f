"""A GPU of fake tensors, which compute nothing, to see on a CPU where the host would wait for the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from glow_pipeline.images import content

CUDA = torch.device("cuda")


class HostWaits(TorchDispatchMode):
    """Notes each operation for whose end the host waits.

    A choice of elements by a mask, whose number the host would have to learn, is an error of fake tensors already.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, operation.name()
        if name in ("aten::_local_scalar_dense", "aten::nonzero"):
            self.seen.append(name)
        if name == "aten::_to_copy" and kwargs.get("device") is not None and not kwargs.get("non_blocking"):
            ends = {args[0].device.type, torch.device(kwargs["device"]).type}
            if len(ends) > 1:
                self.seen.append(f"copy from {args[0].device} to {kwargs['device']}")
        return operation(*args, **kwargs)


class _Event:
    def synchronize(self) -> None:
        pass


class _Stream:
    def record_event(self) -> _Event:
        return _Event()


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostWaits]:
    """Make tensors within the block fake ones, also on `CUDA`, and yield the waits of the host."""
    with monkeypatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        patch.setattr(torch.cuda, "current_stream", lambda *_: _Stream())
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(content, "kernel_on", lambda _: None)  # kernels of Triton take no fake tensors
        with HostWaits() as waits:
            yield waits
