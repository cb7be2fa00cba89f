from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from tests.flow.helpers import (
    assert_close_to_scale,
    assert_logdet_is_the_jacobians,
    concatenated,
    every_model,
    gaussian,
    perturbed,
    random_images,
    seeded,
    small_glow,
)

SHAPES = [
    pytest.param((1, 2, 6), 1, id="grey 2x6, L=1"),
    pytest.param((3, 4, 2), 1, id="colour 4x2, L=1"),
    pytest.param((1, 4, 8), 2, id="grey 4x8, L=2"),
    pytest.param((3, 8, 4), 2, id="colour 8x4, L=2"),
    pytest.param((1, 8, 16), 3, id="grey 8x16, L=3"),
    pytest.param((3, 8, 16), 3, id="colour 8x16, L=3"),
]
every_shape = pytest.mark.parametrize(("image_shape", "L"), SHAPES)


# The bijection -----------------------------------------------------------------------------------


@every_model
@every_shape
def test_logdet_is_the_jacobians(image_shape: tuple[int, int, int], L: int, options: dict[str, Any]) -> None:
    model = perturbed(small_glow(image_shape, K=1 if L == 3 else 2, L=L, **options), size=0.2)
    y = torch.tensor([2]) if model.y_condition else None

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        eps, logdet = model(x, y)
        return concatenated(eps), logdet

    assert_logdet_is_the_jacobians(forward, 0.3 * gaussian(1, *image_shape), tolerance=1e-8)


@every_model
@every_shape
def test_inverts(image_shape: tuple[int, int, int], L: int, options: dict[str, Any]) -> None:
    model = perturbed(small_glow(image_shape, K=3, L=L, **options), size=0.05)
    y = torch.tensor([2, 0, 1]) if model.y_condition else None
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        model.to(dtype)
        for magnitude in (1, 10):
            x = magnitude * gaussian(3, *image_shape, dtype=dtype)
            with torch.no_grad():
                eps, _ = model(x, y)
                assert_close_to_scale(model.inverse(eps, y), x, tolerance)
                assert_close_to_scale(concatenated(model(model.inverse(eps, y), y)[0]), concatenated(eps), tolerance)


def shaded_images(n: int, generator: torch.Generator) -> Tensor:
    """Grey 8x8 images: a ramp in a random direction, and a little grain."""
    ramp = torch.linspace(-1, 1, 8)
    a, b = torch.rand(2, n, 1, 1, 1, generator=generator) - 0.5
    shade = 0.5 + 0.3 * (a * ramp[:, None] + b * ramp) + 0.05 * torch.randn(n, 1, 8, 8, generator=generator)
    return (256 * shade.clamp(0, 0.999)).to(torch.uint8)


@dataclass
class Trained:
    model: Glow
    first_bits: float
    last_bits: float
    magnitudes: tuple[float, ...]


TRAINED: dict[str, dict[str, Any]] = {
    "affine invconv": {"learn_top": True},
    "affine LU": {"LU_decomposed": True},
    "affine shuffle": {"flow_permutation": "shuffle"},
    "additive invconv": {"flow_coupling": "additive", "learn_top": True},
}


@pytest.fixture(scope="module", params=list(TRAINED.values()), ids=list(TRAINED))
def trained(request: pytest.FixtureRequest) -> Trained:
    generator = seeded()
    model = Glow((1, 8, 8), K=4, L=2, hidden_channels=12, generator=generator, **request.param)
    model.initialize(model.dequantization.dequantize(shaded_images(64, generator), generator)[0])
    optimizer = torch.optim.Adamax(model.parameters(), lr=5e-3)
    bits = []
    for _ in range(30):
        images = shaded_images(32, generator)
        loss = model.bits_per_dim(model.log_prob(images, torch.rand(images.shape, generator=generator))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bits.append(loss.item())
    # Far out a trained affine coupling contracts by many orders of magnitude, which no float can undo (exploding
    # inverses, arXiv:2006.09347): from about 10 times an image in float32, 30 times in float64. Images are never there.
    magnitudes = (10.0, 100.0) if request.param.get("flow_coupling") == "additive" else (3.0, 5.0)
    return Trained(model, bits[0], bits[-1], magnitudes)


def test_training_compresses(trained: Trained) -> None:
    assert trained.last_bits < trained.first_bits - 0.1
    assert trained.last_bits < 7


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_trained_model_inverts(trained: Trained, dtype: torch.dtype, tolerance: float) -> None:
    model = trained.model.to(dtype)
    chequered = 255 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2).to(torch.uint8).expand(1, 1, 8, 8)
    black, white = torch.zeros_like(chequered), torch.full_like(chequered, 255)
    noise_images, _ = random_images(model, 16)
    images = torch.cat([shaded_images(16, seeded(5)), noise_images, chequered, black, white])
    x, _ = model.dequantization.forward(images, torch.rand(images.shape, generator=seeded(6), dtype=dtype))
    with torch.no_grad():
        assert_close_to_scale(model.inverse(model(x)[0]), x, tolerance)
        assert torch.isfinite(model.log_density(model.to_top(x))).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_trained_model_inverts_far_outside_the_cube(trained: Trained, dtype: torch.dtype, tolerance: float) -> None:
    model = trained.model.to(dtype)
    images = shaded_images(16, seeded(5))
    x, _ = model.dequantization.forward(images, torch.rand(images.shape, generator=seeded(6), dtype=dtype))
    for magnitude in trained.magnitudes:
        with torch.no_grad():
            assert_close_to_scale(model.inverse(model(magnitude * x)[0]), magnitude * x, tolerance)


def test_decoding_latents_of_images_gives_the_images(trained: Trained) -> None:
    model = trained.model.double()
    images = torch.cat([shaded_images(8, seeded(7)), random_images(model, 8)[0]])
    x, _ = model.dequantization.forward(images, torch.rand(images.shape, generator=seeded(8), dtype=torch.float64))
    with torch.no_grad():
        assert torch.equal(model.decode(model(x)[0]), images)
