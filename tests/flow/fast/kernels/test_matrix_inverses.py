import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow.fast.folding.permutations import inverses_by_operations, kernel_on

INTERPRETED = """
import math
import torch
from glow_pipeline.flow.fast.kernels.matrix_inverses import kernel_inverses
from glow_pipeline.flow.fast.folding.permutations import LARGEST
from tests.flow.helpers import gaussian

for channels in (1, 2, 4, 12, 17, 24, LARGEST):
    rows = gaussian(3, channels * channels + 5)
    exact = rows[:, 2 : 2 + channels * channels].view(3, channels, channels)  # in a level's matrix of parameters
    expected = torch.linalg.inv(exact).transpose(1, 2)
    for matrices, tolerance in ((exact, 1e-12), (exact.transpose(1, 2), 1e-12), (exact.float(), 1e-3)):
        inverses, factors = kernel_inverses(matrices)
        wanted = expected.transpose(1, 2) if matrices.stride(1) == 1 < channels else expected
        assert inverses.dtype == factors.dtype == matrices.dtype
        assert (inverses - wanted).norm() < tolerance * wanted.norm(), channels
        log_abs_dets = factors.double().abs().log().sum(dim=1)
        torch.testing.assert_close(log_abs_dets, torch.linalg.slogdet(exact).logabsdet, rtol=tolerance, atol=tolerance)

wrong = torch.eye(5).repeat(3, 1, 1)
wrong[0, 2], wrong[1, 3, 4] = 0.0, math.nan  # a singular matrix, and one with a NaN
inverses, factors = kernel_inverses(wrong)
assert not factors[:2].abs().log().sum(dim=1).isfinite().any()
assert not inverses[:2].isfinite().any()
assert torch.equal(inverses[2], wrong[2])
"""


@pytest.mark.slow
def test_kernel_inverts_and_finds_the_determinant() -> None:
    """In a process of its own, because Triton reads the variable when it is imported."""
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", INTERPRETED], env=environment, check=True)


@pytest.fixture
def no_kernel_yet() -> Iterator[None]:
    kernel_on.cache_clear()
    yield
    kernel_on.cache_clear()


@pytest.mark.usefixtures("no_kernel_yet")
def test_kernel_is_not_used_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix_inverses = pytest.importorskip("glow_pipeline.flow.fast.kernels.matrix_inverses")

    def failing(_matrices: Tensor) -> tuple[Tensor, Tensor]:
        raise RuntimeError("0 active drivers")  # as Triton has it without a GPU

    monkeypatch.setattr(matrix_inverses, "kernel_inverses", failing)
    assert kernel_on(torch.device("cpu")) is None


@pytest.mark.usefixtures("no_kernel_yet")
@pytest.mark.parametrize("wrong", [False, True])
def test_kernel_is_used_if_it_is_right(monkeypatch: pytest.MonkeyPatch, wrong: bool) -> None:
    matrix_inverses = pytest.importorskip("glow_pipeline.flow.fast.kernels.matrix_inverses")

    def kernel(matrices: Tensor) -> tuple[Tensor, Tensor]:
        inverses, factors = inverses_by_operations(matrices)
        return inverses, factors + wrong

    monkeypatch.setattr(matrix_inverses, "kernel_inverses", kernel)
    assert kernel_on(torch.device("cpu")) is (None if wrong else kernel)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [4, 12, 24, 48, 64])
def test_kernel_agrees_on_a_gpu(channels: int) -> None:
    random = torch.Generator().manual_seed(channels)
    matrices = torch.linalg.qr(torch.randn(32, channels, channels, generator=random, dtype=torch.float64)).Q
    matrices += 0.1 * torch.randn(matrices.shape, generator=random, dtype=torch.float64) / channels**0.5
    kernel = kernel_on(torch.device("cuda", torch.cuda.current_device()))
    assert kernel is not None
    inverses, factors = kernel(matrices.float().cuda())
    expected = torch.linalg.inv(matrices).transpose(1, 2)
    assert (inverses.cpu() - expected).norm() < 1e-5 * expected.norm()
    log_abs_dets = factors.cpu().double().abs().log().sum(dim=1)
    torch.testing.assert_close(log_abs_dets, torch.linalg.slogdet(matrices).logabsdet, rtol=1e-4, atol=1e-4)
