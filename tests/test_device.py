import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from glow_pipeline.device import describe_device, keep_freed_memory, resolve_device

FAULTS = """
import resource, sys, torch
from glow_pipeline.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory(torch.device("cpu"))
def step():
    for _ in range(4):
        blocks = [torch.zeros(12 * 2**20) for _ in range(2)]  # 48 MiB: by itself glibc keeps none above 32
step()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that had to be given by the system in a step that uses the memory that the step before has freed."""
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux") or not Path("/proc/self").exists(), reason="glibc is on Linux")
def test_memory_that_a_step_frees_is_kept_for_the_next() -> None:
    default = faults("default")
    if default < 48 * 2**20 // resource.getpagesize():
        pytest.skip("this system gives memory in large pages")
    assert faults("keep") < default / 4


def test_other_devices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", None)
    keep_freed_memory(torch.device("cuda"))


def test_a_device_is_resolved_and_named() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert describe_device(torch.device("cpu")).startswith("cpu (")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
