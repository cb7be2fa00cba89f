"""Copies between the memories of host and GPU for which the host does not wait.

A plain `.cpu()` ends when the GPU has computed all that it was given, so that it has nothing to do until the host has
launched the next batch.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


class HostCopy:
    """Copies of tensors to the host's memory that are under way.

    Args:
        tensors: on any device; must not be changed before the copies are read.

    Attributes:
        under_way: whether a GPU makes them, while the host does something else.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self.under_way = any(tensor.device.type == "cuda" for tensor in tensors)
        # Of a GPU's tensor torch makes such a copy in pinned memory.
        self._copies = [tensor.to("cpu", non_blocking=tensor.device.type == "cuda") for tensor in tensors]
        self._arrived = torch.cuda.current_stream().record_event() if self.under_way else None

    @property
    def complete(self) -> bool:
        """Return whether `get` does not wait."""
        return self._arrived is None or self._arrived.query()

    def get(self) -> list[Tensor]:
        """Wait until the copies are complete, and return them in the order of the tensors."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copies


def arrived(copies: Iterable[HostCopy]) -> Iterator[list[Tensor]]:
    """Yield the complete copies in order; a GPU's copy after the next was started, so that the GPU is never idle."""
    before: HostCopy | None = None
    for copy in copies:
        if before is not None:
            yield before.get()
        before = copy if copy.under_way else None
        if before is None:
            yield copy.get()
    if before is not None:
        yield before.get()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to the device."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
