"""CUDA graphs: work that the host launches at once instead of kernel by kernel."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

import torch

WARM_UP = 3  # runs before a recording, in which libraries choose their algorithms and take their memory

Result = TypeVar("Result")

# Graphs whose recording failed. torch's allocator of pinned memory may keep a pointer to each for ever.
_FAILED: list[torch.cuda.CUDAGraph] = []


class GraphRecorder:
    """Records work as CUDA graphs that share their memory, and so are to be replayed in the order of their recording.

    Warm-up and recording are on one stream, because cuBLAS and cuSOLVER have a workspace for each.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], object]) -> None:
        """Run the work a few times."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], Result]) -> tuple[torch.cuda.CUDAGraph, Result]:
        """Record the work without computing it; return its graph, and the result that each replay overwrites.

        Raises:
            RuntimeError: the work cannot be recorded, for example because the host waits for the device in it. Streams
                and memory are as before.
        """
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # the graph's own pool takes no memory from the cache
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream), ExitStack() as on_error:
            graph.capture_begin(self._pool)
            on_error.callback(_abandon, graph, self._pool)
            result = work()
            graph.capture_end()
            on_error.pop_all()
        return graph, result


def _abandon(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
    """End a recording that failed.

    `capture_end` of torch 2.11 raises the driver's error before it has informed anything else. The allocator would
    then wait for the end of the recording before it uses memory of several streams again, and never free the pool,
    and the default generator would refuse to draw.
    """
    try:
        graph.capture_end()
    except RuntimeError:
        device = torch.cuda.current_device()
        with suppress(RuntimeError):  # of later versions, whose `capture_end` has done both
            torch._C._cuda_endAllocateToPool(device, pool)
            torch._C._cuda_releasePool(device, pool)
        generator = torch.cuda.default_generators[device]
        generator.graphsafe_set_state(generator.clone_state())  # a copy is not in the recording
        _FAILED.append(graph)
