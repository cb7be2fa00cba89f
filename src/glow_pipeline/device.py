"""Which device to work on, and how."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

ONE_THREAD_PIXELS = 16384
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BLOCK = 2**30


def resolve_device(device: str) -> torch.device:
    """`auto` is cuda, else mps, else cpu; any other name is taken as it is."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def describe_device(device: torch.device) -> str:
    """The device's name as results should state it."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type


@contextmanager
def threads_for(pixels: int) -> Iterator[None]:
    """Within this block a CPU works on batches of this many pixels with as many threads as help.

    Small images take one: a second thread makes a step on 128 digits of 8x8 slower, and many times
    slower when something else wants the core that it waits on.

    Args:
        pixels: images a batch times height times width.
    """
    before = torch.get_num_threads()
    if pixels < ONE_THREAD_PIXELS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory(device: torch.device) -> None:
    """Let glibc keep what a step frees for the next step, where a flow is computed on the CPU.

    By default it hands large blocks back to the system at once, and the next step has every page of them faulted in
    again, which takes up to a third of its time (docs/results/speed.md). Without glibc nothing happens.
    """
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        mallopt(M_TRIM_THRESHOLD, KEPT_BLOCK)
