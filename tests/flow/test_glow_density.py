import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from glow_pipeline.flow import Glow
from tests.flow.helpers import (
    concatenated,
    every_model,
    gaussian,
    perturbed,
    random_images,
    seeded,
    small_glow,
)


@every_model
@pytest.mark.parametrize("n_bits", [3, 8])
@pytest.mark.parametrize("L", [1, 2, 3])
def test_log_prob_is_latent_density_plus_logdets(L: int, n_bits: int, options: dict[str, Any]) -> None:
    model = perturbed(small_glow((1, 8, 16), L=L, n_bits=n_bits, **options), size=0.1)
    images, noise = random_images(model, 3)
    y = torch.tensor([2, 0, 1]) if model.y_condition else None
    x = torch.from_numpy((images.numpy() + noise.numpy()) / 2**n_bits - 0.5)
    eps, logdet = model(x, y)
    expected = Normal(0.0, 1.0).log_prob(concatenated(eps)).sum(dim=1) + logdet - 128 * n_bits * math.log(2)
    torch.testing.assert_close(model.log_prob(images, noise, y), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_bits", range(1, 9))
def test_uniform_density_has_n_bits_per_dimension(n_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_glow((3, 4, 4), n_bits=n_bits).double()
    images, noise = random_images(model, 2)
    expected = torch.full((2,), float(n_bits), dtype=torch.float64)
    _, logdet = model.dequantization.forward(images, noise)
    torch.testing.assert_close(model.bits_per_dim(logdet), expected, rtol=1e-12, atol=0)

    # log 1 = 0 everywhere in the unit cube
    monkeypatch.setattr(model, "log_density", lambda latent, y: torch.zeros(len(latent.z), dtype=torch.float64))
    torch.testing.assert_close(model.bits_per_dim(model.log_prob(images, noise)), expected, rtol=1e-12, atol=0)


def test_bits_per_dim_counts_channels_height_and_width() -> None:
    model = small_glow((3, 4, 8))
    nats = torch.tensor([-1.0, -96.0, 50.0])
    expected = -nats.numpy() / (3 * 4 * 8) / np.log(2)
    np.testing.assert_allclose(model.bits_per_dim(nats).numpy(), expected, rtol=1e-6)


# A 2x2 grey image of 1 bit has 16 values, so sums over all images can be taken. The density is of R^4, and what
# is outside the cube [-1/2, 1/2)^4 belongs to no image: the 16 probabilities sum to the mass in the cube. So the
# sum is held three ways that share no formula for the volume:
#  - to 1, for models that were made to have (nearly) all their mass in the cube;
#  - image by image to the share of samples from `inverse` that fall in the image's cell, which uses no logdet at
#    all, and detects a wrong constant, prior or Jacobian also where much of the mass is outside;
#  - to the density's integral by points drawn evenly in the cube, with |det| from autograd.
ALL_IMAGES = ((torch.arange(16)[:, None] >> torch.arange(4)) & 1).to(torch.uint8).view(16, 1, 2, 2)
TINY: dict[str, dict[str, Any]] = {
    "affine invconv": {},
    "additive LU learn_top": {"flow_coupling": "additive", "LU_decomposed": True, "learn_top": True},
    "affine shuffle y_condition": {"flow_permutation": "shuffle", "y_condition": True, "num_classes": 3},
}
every_tiny_model = pytest.mark.parametrize("options", TINY.values(), ids=TINY.keys())


def tiny_glow(spread: float, options: dict[str, Any]) -> Glow:
    """A model of 2x2x1 images with 1 bit whose mass is around a point off the cube's centre."""
    model = perturbed(Glow((1, 2, 2), K=3, L=1, hidden_channels=6, n_bits=1, generator=seeded(), **options), size=0.1)
    model.initialize(spread * gaussian(512, 1, 2, 2) + torch.tensor([[0.05, -0.05], [0.1, 0.0]], dtype=torch.float64))
    return model


def uniform_in_strata(cells: int, seed: int) -> Tensor:
    """Points of [0, 1)^4, (cells**4, 2, 1, 2, 2): two in each cell of a grid, which vary less than points at large."""
    corners = torch.cartesian_prod(*4 * [torch.arange(cells, dtype=torch.float64)]).view(-1, 1, 1, 2, 2)
    within = torch.rand(len(corners), 2, 1, 2, 2, generator=seeded(seed), dtype=torch.float64)
    return (corners + within) / cells


def mean_and_standard_error(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard error of values (..., strata, 2) at `uniform_in_strata`."""
    error = pairs.diff(dim=-1).square().sum(dim=(-1, -2)).sqrt() / (2 * pairs.shape[-2])
    return pairs.mean(dim=(-1, -2)), error


def probabilities(model: Glow) -> tuple[Tensor, Tensor]:
    """The 16 images' probabilities, each the mean of exp(log_prob) over noise, and their standard errors."""
    noise = uniform_in_strata(7, seed=3)
    draws = noise.expand(16, *noise.shape).reshape(-1, 1, 2, 2)
    images = ALL_IMAGES.repeat_interleave(len(draws) // 16, dim=0)
    with torch.no_grad():
        return mean_and_standard_error(model.log_prob(images, draws).exp().view(16, -1, 2))


@every_tiny_model
def test_probabilities_of_all_images_sum_to_one(options: dict[str, Any]) -> None:
    mean, error = probabilities(tiny_glow(0.12, options))
    assert mean.max() > 5 * mean.min()
    assert error.norm() < 0.01
    assert 0.97 < mean.sum() < 1 + 5 * error.norm()


@every_tiny_model
@pytest.mark.parametrize("spread", [0.12, 0.4])
def test_probability_is_the_frequency_among_samples(spread: float, options: dict[str, Any]) -> None:
    model = tiny_glow(spread, options)
    mean, error = probabilities(model)
    n = 60_000
    generator = seeded(4)
    y = torch.randint(0, 3, (n,), generator=generator) if model.y_condition else None
    with torch.no_grad():
        x = model.inverse(model.draw_latents(n, generator, torch.float64), y).flatten(1)
    inside = ((x >= -0.5) & (x < 0.5)).all(dim=1)
    image = ((x[inside] >= 0).long() << torch.arange(4)).sum(dim=1)
    share = torch.bincount(image, minlength=16) / n
    deviation = (error**2 + share * (1 - share) / n).sqrt()
    assert ((mean - share).abs() < 5 * deviation + 1e-4).all()
    assert (mean.sum() - share.sum()).abs() < 0.02
    assert spread == 0.12 or share.sum() < 0.9


@every_tiny_model
@pytest.mark.parametrize("spread", [0.12, 0.4])
def test_probabilities_sum_to_integral_over_the_cube(spread: float, options: dict[str, Any]) -> None:
    model = tiny_glow(spread, options)
    mean, error = probabilities(model)
    x = uniform_in_strata(12, seed=5).view(-1, 1, 2, 2) - 0.5
    density = torch.zeros(len(x), dtype=torch.float64)
    classes = range(model.num_classes) if model.y_condition else [None]
    for k in classes:
        x.requires_grad_()
        eps = concatenated(model(x, None if k is None else torch.full((len(x),), k))[0])
        rows = [torch.autograd.grad(eps[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(4)]
        volume = torch.linalg.det(torch.stack(rows, dim=1)).abs()
        normal = np.exp(-0.5 * (eps.detach().numpy() ** 2).sum(axis=1)) / (2 * np.pi) ** 2
        density += torch.from_numpy(normal) * volume / len(classes)
    integral, integral_error = mean_and_standard_error(density.view(-1, 2))
    deviation = (error.square().sum() + integral_error.square()).sqrt()
    assert deviation < 0.015
    assert (mean.sum() - integral).abs() < 5 * deviation
