"""Memory that a flow takes, and the message where there is less."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations
from glow_pipeline.memory import (
    FlowSize,
    NotEnoughMemoryError,
    available_bytes,
    check_weights,
    control_group_bytes,
    in_words,
    memory_in_one_line,
    n_weights,
    size_of,
    training_bytes,
)

CPU = torch.device("cpu")
# For each case a forked process, which prints its memory before and at the peak of a training step, in bytes.
PEAKS = """
import os, sys, torch
from glow_pipeline.device import keep_freed_memory
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.step import TrainingStep

def peak():  # ru_maxrss would be that of the process that started this one, if it was larger
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

def measure(activations, channels, side, K, L, hidden, batch):
    images = torch.zeros(batch, channels, side, side, dtype=torch.uint8)
    x, logdet = Glow((channels, side, side), 1, 1, 1).dequantization.dequantize(images, torch.Generator())
    before = peak()
    model = Glow((channels, side, side), K, L, hidden).to(memory_format=torch.channels_last)
    model.initialize(x)
    model.execution = Execution(activations)
    step = TrainingStep(model, Adamax(model.parameters(), lr=1e-3), 0.0, 1)
    for _ in range(2):
        assert step(x, logdet).isfinite()
    print(activations, 1024 * before, 1024 * peak(), flush=True)

keep_freed_memory(torch.device("cpu"))
torch.set_num_threads(1)
for case in sys.argv[1:]:
    activations, *numbers = case.split(",")
    if os.fork() == 0:
        measure(activations, *map(int, numbers))
        os._exit(0)
    os.wait()
"""
CASES: list[tuple[int, int, Activations]] = [(64, 16, "stored"), (64, 32, "checkpointed"), (128, 8, "reversible")]


@pytest.fixture(scope="module")
def peaks() -> dict[str, tuple[int, int]]:
    """Return bytes before and at the peak of a training step of each of `CASES`, by activations."""
    cases = [f"{activations},3,{side},8,3,64,{batch}" for side, batch, activations in CASES]
    done = subprocess.run([sys.executable, "-c", PEAKS, *cases], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {activations: (int(before), int(peak)) for activations, before, peak in lines}


def too_large() -> None:
    torch.empty(10**15)


def beyond_all_bounds() -> None:
    torch.empty(10**15, 10**15)


def beyond_integers() -> None:
    torch.empty(10**30)


def too_large_for_python() -> None:
    bytearray(10**15)


def gpu_is_full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("allocate", [too_large, beyond_all_bounds, beyond_integers, too_large_for_python, gpu_is_full])
def test_failed_allocation_is_one_line(allocate: Callable[[], None]) -> None:
    with pytest.raises(NotEnoughMemoryError) as error, memory_in_one_line("sample.n=5", "lower it"):
        allocate()
    assert str(error.value) == "sample.n=5: memory does not suffice; lower it"


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes") as error, memory_in_one_line("sample.n=5", "lower it"):
        raise RuntimeError("shapes differ")
    assert not isinstance(error.value, NotEnoughMemoryError)


def test_parameters_beyond_free_memory_are_refused() -> None:
    check_weights(FlowSize((3, 32, 32), 8, 3, 64, affine=True))
    with pytest.raises(NotEnoughMemoryError) as error:
        check_weights(FlowSize((3, 32, 32), 8, 3, 10**9, affine=True))
    assert str(error.value).startswith("model.hidden_channels=1000000000: the model's parameters alone take 87,3"), (
        error.value
    )
    assert str(error.value).endswith(" GiB are free; lower it, or model.K=8")


@pytest.mark.parametrize("coupling", ["affine", "additive"])
def test_parameters_are_counted_without_the_model(coupling: str) -> None:
    flow = Glow((3, 32, 32), 8, 3, 64, flow_coupling=coupling)
    counted = n_weights(FlowSize((3, 32, 32), 8, 3, 64, affine=coupling == "affine"))
    assert counted == pytest.approx(sum(parameter.numel() for parameter in flow.parameters()), rel=0.03)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
@pytest.mark.parametrize(("side", "batch", "activations"), CASES)
@pytest.mark.slow
def test_estimate_is_near_the_measured_peak(
    peaks: dict[str, tuple[int, int]], side: int, batch: int, activations: Activations
) -> None:
    before, peak = peaks[activations]
    size = FlowSize((3, side, side), 8, 3, 64, affine=True)
    estimated = training_bytes(size, batch=batch, at_once=batch, scored=1, activations=activations)
    assert before + estimated == pytest.approx(peak, rel=0.25)
    assert estimated == pytest.approx(peak - before, rel=0.5)


@pytest.mark.parametrize(
    ("K", "hidden_channels", "batch", "gib"),
    [(8, 64, 128, 0.454), (8, 64, 512, 1.21), (32, 512, 64, 2.48), (32, 512, 512, 12.4)],
)
def test_estimate_is_near_peaks_of_a_gpu(K: int, hidden_channels: int, batch: int, gib: float) -> None:
    """The peaks of docs/results/gpu.md, of products in bfloat16."""
    size = FlowSize((3, 32, 32), K, 3, hidden_channels, affine=True)
    estimated = training_bytes(
        size, batch=batch, at_once=batch, scored=1, activations="stored", network_bytes=2, products=True
    )
    assert estimated / 2**30 == pytest.approx(gib, rel=0.5)


def test_smaller_batches_and_fewer_activations_take_less() -> None:
    size = FlowSize((3, 256, 256), 8, 3, 64, affine=True)

    def estimate(activations: Activations, at_once: int) -> int:
        return training_bytes(size, batch=128, at_once=at_once, scored=64, activations=activations)

    assert estimate("stored", 128) > estimate("stored", 64) > estimate("stored", 32)
    assert estimate("stored", 128) > estimate("checkpointed", 128) > estimate("reversible", 128)
    assert in_words(estimate("stored", 128)) == "16.6 GiB"


def test_control_group_limits_what_is_available(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("0::/jobs/one\n")
    root = tmp_path / "cgroup"
    group = root / "jobs" / "one"
    group.mkdir(parents=True)
    assert control_group_bytes(root, membership) is None
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("100\n")
    assert control_group_bytes(root, membership) is None
    (group.parent / "memory.max").write_text("1000\n")
    (group.parent / "memory.current").write_text("700\n")
    (group.parent / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert control_group_bytes(root, membership) == 450


def test_control_group_of_version_1(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/job\n3:cpu,cpuacct:/other\n")
    group = tmp_path / "cgroup" / "memory" / "job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("1000\n")
    (group / "memory.usage_in_bytes").write_text("700\n")
    assert control_group_bytes(tmp_path / "cgroup", membership) == 300


def test_memory_that_is_available() -> None:
    available = available_bytes(CPU)
    assert available is None or 2**20 < available < 2**50
    assert available_bytes(torch.device("mps")) is None
    assert (in_words(3 * 2**30), in_words(100 * 2**20)) == ("3.0 GiB", "100 MiB")
    assert in_words(2 * 2**40) == "2 TiB"


@pytest.mark.parametrize("parameters", [[], [torch.zeros(())], [torch.zeros(()), torch.zeros(5, 2)]])
def test_couplings_of_any_parameters_have_a_size(parameters: list[torch.Tensor]) -> None:
    flow = Glow((1, 8, 8), K=1, L=2, hidden_channels=4)
    for level in flow.levels:
        for step in level.steps:  # type: ignore[union-attr]
            step.coupling = nn.ParameterList(parameters)
    assert size_of(flow).hidden_channels == max([1, *(len(each) for each in parameters if each.ndim)])
