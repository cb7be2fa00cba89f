from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from glow_pipeline.images.transfer import HostCopy, arrived, to_device
from tests.fake_gpu import CUDA, fake_gpu


def begun(n: int, device: torch.device, log: list[str]) -> Iterator[HostCopy]:
    for i in range(n):
        log.append(f"begin {i}")
        yield HostCopy(torch.full((2,), i, device=device))


def log_of(n: int, device: torch.device) -> list[str]:
    log: list[str] = []
    for i, (copy,) in enumerate(arrived(begun(n, device, log))):
        assert copy.device.type == "cpu"
        log.append(f"read {i}")
    return log


def test_next_copy_is_begun_before_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as waits:
        assert log_of(3, CUDA) == ["begin 0", "begin 1", "read 0", "begin 2", "read 1", "read 2"]
        assert log_of(0, CUDA) == []
        assert not waits.seen


def test_cpu_reads_each_copy_at_once() -> None:
    assert log_of(2, torch.device("cpu")) == ["begin 0", "read 0", "begin 1", "read 1"]


def test_copies_are_in_the_order_of_the_tensors() -> None:
    one, other = torch.ones(2), torch.zeros(3)
    copies = HostCopy(one, other)
    assert not copies.under_way
    assert [copy.tolist() for copy in copies.get()] == [[1, 1], [0, 0, 0]]


def test_copies_to_a_gpu_are_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor)
        return tensor

    with fake_gpu(monkeypatch) as waits:
        monkeypatch.setattr(Tensor, "pin_memory", pin)
        copy = to_device(torch.ones(2), CUDA)
        assert to_device(copy, CUDA) is copy
        assert (copy.device.type, len(pinned), waits.seen) == ("cuda", 1, [])
