import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from glow_pipeline.images import content
from glow_pipeline.images.content import content_noise, kernel_on, noise_by_operations
from tests.conftest import random_images

INTERPRETED = """
import torch
from glow_pipeline.images.content import noise_by_operations
from glow_pipeline.images.noise_kernel import kernel_noise

random = torch.Generator().manual_seed(0)
for shape in ((3, 3, 32, 32), (2, 3, 20, 33), (5, 1, 2, 3), (0, 1, 8, 8)):
    images = torch.randint(0, 256, shape, generator=random).to(torch.uint8)
    for key in (0, 1, 2**31, 2**63 - 1, -1, -(2**63)):
        assert torch.equal(kernel_noise(images, key), noise_by_operations(images, key)), (shape, key)
images = torch.randint(0, 256, (4, 3, 8, 8), generator=random).to(torch.uint8).to(memory_format=torch.channels_last)
assert torch.equal(kernel_noise(images, 3), noise_by_operations(images, 3))
"""


def test_kernel_has_the_bits_of_torchs_operations() -> None:
    """In a process of its own, because Triton reads the variable when it is imported."""
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, check=True)


@pytest.fixture
def no_kernel_yet() -> Iterator[None]:
    kernel_on.cache_clear()
    yield
    kernel_on.cache_clear()


@pytest.mark.usefixtures("no_kernel_yet")
def test_kernel_is_not_used_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    noise_kernel = pytest.importorskip("glow_pipeline.images.noise_kernel")

    def failing(_images: Tensor, _key: int) -> Tensor:
        raise RuntimeError("0 active drivers")  # as Triton has it without a GPU

    monkeypatch.setattr(noise_kernel, "kernel_noise", failing)
    assert kernel_on(torch.device("cpu")) is None


@pytest.mark.usefixtures("no_kernel_yet")
@pytest.mark.parametrize("wrong", [False, True])
def test_kernel_is_used_if_its_bits_are_right(monkeypatch: pytest.MonkeyPatch, wrong: bool) -> None:
    noise_kernel = pytest.importorskip("glow_pipeline.images.noise_kernel")

    def kernel(images: Tensor, key: int) -> Tensor:
        return noise_by_operations(images, key) + wrong * 2.0**-24

    monkeypatch.setattr(noise_kernel, "kernel_noise", kernel)
    assert kernel_on(torch.device("cpu")) is (None if wrong else kernel)


def test_cpu_draws_noise_by_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(content, "kernel_on")
    assert torch.equal(content_noise(random_images(2), 3), noise_by_operations(random_images(2), 3))
