"""The kernels compile for the oldest and for a new GPU that they are used on, and fit into its shared memory."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

LEVELS = ["12,16,16", "24,8,8", "48,4,4", "4,14,14", "8,7,7"]  # of 3x32x32 and 1x28x28 images
MEMORY = {80: 163 * 2**10, 90: 227 * 2**10}  # bytes that a program may take, by capability


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("hidden", [64, 128])
@pytest.mark.parametrize("capability", MEMORY)
def test_compiled_kernels_fit_into_a_gpu(capability: int, hidden: int, level: str) -> None:
    script = "tests.flow.fast.kernels.compile_kernels"
    command = [sys.executable, "-m", script, str(capability), str(MEMORY[capability]), str(hidden), level]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    kernels = [line.split() for line in done.stdout.splitlines()]
    assert len(kernels) == 11  # forward and inverse of scores, and three for a training step of each precision
    assert not [kernel for kernel in kernels if int(kernel[1]) > MEMORY[capability]]
    assert not [kernel for kernel in kernels if int(kernel[2]) > 0]  # see `tile.Tile`
