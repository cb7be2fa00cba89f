"""A recording that fails leaves nothing behind: by a stand-in for the driver, and on a GPU."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow.fast import cuda_graph
from glow_pipeline.flow.fast.cuda_graph import WARM_UP, GraphRecorder

POOL = (0, 7)
SMALLEST_SEGMENT = 2**21  # bytes; torch's generator keeps two numbers for a graph, also for one that failed


class Generator:
    """A generator whose state knows whether it is in a recording."""

    def __init__(self, recording: bool) -> None:
        self.recording = recording

    def clone_state(self) -> "Generator":
        return Generator(False)

    def graphsafe_set_state(self, state: "Generator") -> None:
        self.recording = state.recording


class Driver:
    """Stands in for the driver and the allocator of a GPU on which a recording has failed."""

    def __init__(self, error: str | None, *, ends_recording_itself: bool = False) -> None:
        self.error, self.ends_recording_itself = error, ends_recording_itself
        self.generator = Generator(recording=True)
        self.calls: list[tuple[object, ...]] = []

    def capture_end(self) -> None:
        self.calls.append(("capture_end",))
        if self.error is not None:
            raise RuntimeError(self.error)

    def end(self, *arguments: object) -> None:
        if self.ends_recording_itself:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.calls.append(("end", *arguments))

    def release(self, *arguments: object) -> None:
        self.calls.append(("release", *arguments))


def abandoned(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(cuda_graph, "_FAILED", failed := list[Any]())
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", driver.end, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", driver.release, raising=False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "default_generators", (driver.generator,))
    cuda_graph._abandon(driver, POOL)  # type: ignore[arg-type]
    assert failed == ([] if driver.error is None else [driver])  # kept, for the sake of pointers to it
    return driver


def test_recording_given_up_by_the_driver_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = abandoned(Driver("previous error during capture"), monkeypatch)
    assert driver.calls == [("capture_end",), ("end", 0, POOL), ("release", 0, POOL)]
    assert not driver.generator.recording


def test_recording_ended_by_torch_is_not_ended_again(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = abandoned(Driver("previous error during capture", ends_recording_itself=True), monkeypatch)
    assert driver.calls == [("capture_end",)]


def test_recording_stopped_by_other_errors_ends_normally(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abandoned(Driver(None), monkeypatch).calls == [("capture_end",)]


class Streams:
    """Stands in for the streams and graphs of a GPU, and knows which stream work is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.present, self.seen = "usual", list[str]()
        monkeypatch.setattr(torch.cuda, "Stream", lambda: Waiting("own"))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: Waiting(self.present))
        monkeypatch.setattr(torch.cuda, "stream", self.used)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: POOL)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        for name in ("synchronize", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, lambda: None)

    @contextmanager
    def used(self, stream: "Waiting") -> Iterator[None]:
        before, self.present = self.present, stream.name
        yield
        self.present = before

    def work(self) -> None:
        self.seen.append(self.present)


@dataclass
class Waiting:
    """A stream."""

    name: str

    def wait_stream(self, other: "Waiting") -> None:
        assert other.name != self.name


class Graph:
    """A graph that records nothing."""

    def capture_begin(self, pool: object) -> None:
        assert pool == POOL

    def capture_end(self) -> None:
        pass


def test_warm_up_and_recording_are_on_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries have a workspace for each stream."""
    streams = Streams(monkeypatch)
    recorder = GraphRecorder()
    recorder.warm_up(streams.work)
    recorder.record(streams.work)
    assert streams.seen == ["own"] * (WARM_UP + 1)
    assert streams.present == "usual"


# On a GPU -------------------------------------------------------------------------------------

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture
def recorder() -> GraphRecorder:
    return GraphRecorder()


@pytest.fixture
def unchanged_device() -> Iterator[None]:
    """Check that a test leaves stream, generator and allocator as they were."""
    gc.collect()  # errors hold frames, and those hold tensors
    torch.cuda.empty_cache()
    stream, reserved = torch.cuda.current_stream(), torch.cuda.memory_reserved()
    yield
    assert torch.cuda.current_stream() == stream
    assert torch.rand(3, device="cuda").isfinite().all()
    gc.collect()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= reserved + SMALLEST_SEGMENT


def copied_ahead(host: Tensor, copying: torch.cuda.Stream) -> Tensor:
    """Copy to the GPU on another stream, as batches do."""
    present = torch.cuda.current_stream()
    with torch.cuda.stream(copying):
        copied = host.to("cuda", non_blocking=True)
    present.wait_stream(copying)
    copied.record_stream(present)
    return copied


@pytest.mark.gpu
@on_a_gpu
def test_replays_compute_what_was_recorded(recorder: GraphRecorder) -> None:
    x = torch.arange(4.0, device="cuda")
    recorder.warm_up(lambda: x.add_(1))
    assert x.tolist() == [WARM_UP, 1 + WARM_UP, 2 + WARM_UP, 3 + WARM_UP]
    first, doubled = recorder.record(lambda: 2 * x)
    second, summed = recorder.record(lambda: doubled.sum())
    for shift in (0, 1):
        x.copy_(torch.arange(4.0) + shift)
        first.replay()
        second.replay()
        assert summed.item() == 12 + 8 * shift


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.usefixtures("unchanged_device")
@pytest.mark.parametrize("waiting", [True, False])
def test_failed_recording_leaves_the_device_as_before(waiting: bool) -> None:
    def work() -> NoReturn:
        big = torch.ones(2**24, device="cuda")
        if waiting:
            big.sum().item()
        raise RuntimeError("not the driver's")

    x = torch.ones(2, device="cuda")
    with pytest.raises(RuntimeError, match="captur" if waiting else "not the driver's"):
        GraphRecorder().record(work)
    graph, result = GraphRecorder().record(lambda: x + 1)
    graph.replay()
    assert result.tolist() == [2, 2]


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.usefixtures("unchanged_device")
def test_batches_after_a_failed_recording_free_their_memory() -> None:
    host, copying = torch.ones(2**22).pin_memory(), torch.cuda.Stream()  # 16 MiB

    def work() -> float:
        return torch.ones(8, device="cuda").sum().item()

    with pytest.raises(RuntimeError):
        GraphRecorder().record(work)
    reserved = []
    for _ in range(100):
        total = copied_ahead(host, copying).sum()
        reserved.append(torch.cuda.memory_reserved())
        assert total.item() == 2**22
    assert reserved[-1] == reserved[9]
