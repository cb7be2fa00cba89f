"""Choice and setup of the device."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from glow_pipeline.device import (
    describe_device,
    keep_freed_memory,
    keeps_on_device,
    resolve_device,
    resolve_precision,
    use_device,
)
from glow_pipeline.errors import GlowPipelineError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

FAULTS = """
import resource, sys, torch
from glow_pipeline.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory(torch.device("cpu"))
def step():
    for _ in range(4):
        blocks = [torch.zeros(12 * 2**20) for _ in range(2)]  # 48 MiB: by itself glibc keeps none above 32
for _ in range(6):  # until the heap has settled, which took up to three steps, by where it begins
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Return the page faults of a step that can use the memory which the step before it has freed."""
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux") or not Path("/proc/self").exists(), reason="glibc is on Linux")
@pytest.mark.slow
def test_freed_memory_is_kept_for_the_next_step() -> None:
    default = faults("default")
    if default < 48 * 2**20 // resource.getpagesize():
        pytest.skip("this system gives memory in large pages")
    assert faults("keep") < default / 4


def test_other_devices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", None)
    keep_freed_memory(torch.device("cuda"))


def test_device_is_resolved_and_named() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert describe_device(CPU) == "cpu"
    assert describe_device(CPU, threads=1) == "cpu (1 thread)"
    assert describe_device(CPU, 3, 2) == "3 processes, each on cpu (2 threads)"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize(("requested", "other"), [("cuda", "mps"), ("mps", "cuda")])
def test_missing_device_is_one_line(monkeypatch: pytest.MonkeyPatch, requested: str, other: str) -> None:
    monkeypatch.setattr(f"torch.{requested if requested == 'cuda' else 'backends.mps'}.is_available", lambda: False)
    monkeypatch.setattr(f"torch.{other if other == 'cuda' else 'backends.mps'}.is_available", lambda: True)
    with pytest.raises(GlowPipelineError) as error:
        resolve_device(requested)
    assert str(error.value) == f"device={requested}: torch finds none here, only cpu, {other}; set device=auto"
    assert resolve_device("auto") == resolve_device(other) == torch.device(other)


# Setup ----------------------------------------------------------------------------------------


@pytest.fixture
def cudnn() -> Iterator[Any]:
    """Give cuDNN the settings that torch comes with, and restore those it had."""
    settings: Any = torch.backends.cudnn
    before = settings.deterministic, settings.conv.fp32_precision
    settings.deterministic, settings.conv.fp32_precision = False, "tf32"
    yield settings
    settings.deterministic, settings.conv.fp32_precision = before


def test_cudnn_is_deterministic(cudnn: Any) -> None:
    assert use_device("cpu") == CPU
    assert cudnn.deterministic is True
    assert cudnn.conv.fp32_precision == "tf32"  # passes set it for themselves (test_execution.py)


@pytest.mark.parametrize(("available", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_is_bfloat16_where_available(
    monkeypatch: pytest.MonkeyPatch, available: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: available or including_emulation)
    assert resolve_precision("auto", CUDA) == expected
    assert resolve_precision("auto", CPU) == "float32"
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_chosen_precision_is_taken() -> None:
    assert resolve_precision("float32", CUDA) == resolve_precision("float32", CPU) == "float32"
    assert resolve_precision("bfloat16", CUDA) == resolve_precision("bfloat16", CPU) == "bfloat16"
    assert resolve_precision("tf32", CUDA) == "tf32"


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_missing_tf32_is_one_line(device: str) -> None:
    with pytest.raises(GlowPipelineError) as error:
        resolve_precision("tf32", torch.device(device))
    assert str(error.value) == (
        f"train.precision=tf32: {device} has no TF32, some NVIDIA GPUs have; set it to float32 or bfloat16"
    )


def test_old_macos_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    mps = torch.device("mps")
    for newer in (True, False):
        monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor, newer=newer: newer)
        if newer:
            assert resolve_precision("bfloat16", mps) == "bfloat16"
        else:
            with pytest.raises(GlowPipelineError) as error:
                resolve_precision("bfloat16", mps)
            assert str(error.value) == "train.precision=bfloat16: mps has it from macOS 14 on; set it to float32"
        assert resolve_precision("auto", mps) == "float32"


def test_amd_gpus_have_no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.0")
    with pytest.raises(GlowPipelineError, match=r"^train\.precision=tf32: an AMD GPU has no TF32"):
        resolve_precision("tf32", CUDA)


def test_images_may_fill_a_quarter_of_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 90000))
    assert keeps_on_device("auto", 1000, CUDA)
    assert not keeps_on_device("auto", 1001, CUDA)
    assert not keeps_on_device("auto", 1, CPU)
    assert not keeps_on_device("auto", 1, torch.device("mps"))


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("choice", [True, False])
def test_chosen_place_of_images_is_taken(choice: bool, device: torch.device) -> None:
    assert keeps_on_device(choice, 2**50, device) is choice
