"""Checks of what every layer promises: its logdet is the Jacobian's, and it inverts."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from glow_pipeline.flow import Glow

Module = TypeVar("Module", bound=nn.Module)
Forward = Callable[[Tensor], tuple[Tensor, Tensor]]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def perturbed(module: Module, size: float = 0.3, seed: int = 1) -> Module:
    """Return `module` in float64 with Gaussian noise on every parameter: zero initialisation would hide most errors."""
    generator = seeded(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def assert_logdet_is_the_jacobians(forward: Forward, x: Tensor, tolerance: float = 1e-9) -> None:
    """`forward(x) -> (y, logdet)`: each image's logdet is log|det dy/dx|, whatever else is in the batch."""
    logdet = forward(x)[1]
    assert logdet.shape == (len(x),)
    for i in range(len(x)):
        one = x[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda image: forward(image)[0], one, vectorize=True)
        expected = torch.linalg.slogdet(jacobian.reshape(one.numel(), one.numel())).logabsdet
        torch.testing.assert_close(logdet[i], expected, rtol=tolerance, atol=tolerance)


def assert_inverts(module: nn.Module, x: Tensor, tolerance: float) -> None:
    """`module.inverse` undoes `module`; the error is measured against the largest |x|, or 1 where that is less."""
    with torch.no_grad():
        y, _ = module(x)
        back = module.inverse(y)  # type: ignore[operator]  # nn.Module does not know of `inverse`
    assert_close_to_scale(back, x, tolerance)


def assert_close_to_scale(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max().item()
    magnitude = max(1.0, expected.abs().max().item())
    assert error <= tolerance * magnitude, f"error {error:.2e} at magnitude {magnitude:.2e}"


OPTIONS = [
    pytest.param({}, id="defaults"),
    pytest.param({"learn_top": True, "LU_decomposed": True}, id="LU, learn_top"),
    pytest.param({"scale_floor": 0.2}, id="scale_floor"),
    pytest.param({"y_condition": True, "num_classes": 3, "flow_permutation": "shuffle"}, id="shuffle, y_condition"),
    pytest.param(
        {
            "learn_top": True,
            "y_condition": True,
            "num_classes": 3,
            "flow_permutation": "reverse",
            "flow_coupling": "additive",
        },
        id="reverse, additive, learn_top, y_condition",
    ),
]
every_model = pytest.mark.parametrize("options", OPTIONS)


def small_glow(
    image_shape: tuple[int, int, int] = (1, 4, 8), K: int = 2, L: int = 2, seed: int = 0, **options: Any
) -> Glow:
    return Glow(image_shape, K, L, hidden_channels=6, generator=seeded(seed), **options)


def random_images(model: Glow, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of evenly drawn levels, and noise in float64."""
    generator = seeded(seed)
    shape = (n, *model.image_shape)
    images = torch.randint(0, model.dequantization.n_levels, shape, generator=generator).to(torch.uint8)
    return images, torch.rand(shape, generator=generator, dtype=torch.float64)


def concatenated(eps: list[Tensor]) -> Tensor:
    return torch.cat([e.flatten(1) for e in eps], dim=1)
