import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from glow_pipeline.flow import Glow
from glow_pipeline.flow.actnorm import ActNorm, initialize_from_data
from tests.flow.helpers import (
    assert_close_to_scale,
    assert_logdet_is_the_jacobians,
    gaussian,
    perturbed,
    seeded,
)


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


SHAPES = [
    pytest.param((1, 2, 6), 1, id="grey 2x6, L=1"),
    pytest.param((3, 4, 2), 1, id="colour 4x2, L=1"),
    pytest.param((1, 4, 8), 2, id="grey 4x8, L=2"),
    pytest.param((3, 8, 4), 2, id="colour 8x4, L=2"),
    pytest.param((1, 8, 16), 3, id="grey 8x16, L=3"),
    pytest.param((3, 8, 16), 3, id="colour 8x16, L=3"),
]
OPTIONS = [
    pytest.param({}, id="defaults"),
    pytest.param({"learn_top": True, "LU_decomposed": True}, id="LU, learn_top"),
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
    # inverses, arXiv:2006.09347): from about 10 times an image in float32, 30 times in float64. Images never lie there.
    magnitudes = (10.0, 100.0) if request.param.get("flow_coupling") == "additive" else (3.0, 5.0)
    return Trained(model, bits[0], bits[-1], magnitudes)


def test_training_compresses(trained: Trained) -> None:
    assert trained.last_bits < trained.first_bits - 0.1
    assert trained.last_bits < 7


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_a_trained_model_inverts(trained: Trained, dtype: torch.dtype, tolerance: float) -> None:
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
def test_a_trained_model_inverts_far_outside_the_cube(trained: Trained, dtype: torch.dtype, tolerance: float) -> None:
    model = trained.model.to(dtype)
    images = shaded_images(16, seeded(5))
    x, _ = model.dequantization.forward(images, torch.rand(images.shape, generator=seeded(6), dtype=dtype))
    for magnitude in trained.magnitudes:
        with torch.no_grad():
            assert_close_to_scale(model.inverse(model(magnitude * x)[0]), magnitude * x, tolerance)


def test_decoding_the_latents_of_images_gives_the_images(trained: Trained) -> None:
    model = trained.model.double()
    images = torch.cat([shaded_images(8, seeded(7)), random_images(model, 8)[0]])
    x, _ = model.dequantization.forward(images, torch.rand(images.shape, generator=seeded(8), dtype=torch.float64))
    with torch.no_grad():
        assert torch.equal(model.decode(model(x)[0]), images)


# The density -------------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("n_bits", [3, 8])
@pytest.mark.parametrize("L", [1, 2, 3])
def test_log_prob_is_the_latents_normal_density_and_both_logdets(L: int, n_bits: int, options: dict[str, Any]) -> None:
    model = perturbed(small_glow((1, 8, 16), L=L, n_bits=n_bits, **options), size=0.1)
    images, noise = random_images(model, 3)
    y = torch.tensor([2, 0, 1]) if model.y_condition else None
    x = torch.from_numpy((images.numpy() + noise.numpy()) / 2**n_bits - 0.5)
    eps, logdet = model(x, y)
    expected = Normal(0.0, 1.0).log_prob(concatenated(eps)).sum(dim=1) + logdet - 128 * n_bits * math.log(2)
    torch.testing.assert_close(model.log_prob(images, noise, y), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_bits", range(1, 9))
def test_a_uniform_density_costs_n_bits_a_dimension(n_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
# lies outside the cube [-1/2, 1/2)^4 belongs to no image: the 16 probabilities sum to the mass in the cube. So the
# sum is held three ways that share no formula for the volume:
#  - to 1, for models that were made to have (nearly) all their mass in the cube;
#  - image by image to the share of samples from `inverse` that fall in the image's cell, which uses no logdet at
#    all, and tells the wrong constant, prior or Jacobian also where much of the mass is outside;
#  - to the density's integral by points drawn evenly in the cube, with |det| from autograd.
ALL_IMAGES = ((torch.arange(16)[:, None] >> torch.arange(4)) & 1).to(torch.uint8).view(16, 1, 2, 2)
TINY: dict[str, dict[str, Any]] = {
    "affine invconv": {},
    "additive LU learn_top": {"flow_coupling": "additive", "LU_decomposed": True, "learn_top": True},
    "affine shuffle y_condition": {"flow_permutation": "shuffle", "y_condition": True, "num_classes": 3},
}
every_tiny_model = pytest.mark.parametrize("options", TINY.values(), ids=TINY.keys())


def tiny_glow(spread: float, options: dict[str, Any]) -> Glow:
    """A model of 2x2x1 images with 1 bit whose mass lies about a point off the cube's centre."""
    model = perturbed(Glow((1, 2, 2), K=3, L=1, hidden_channels=6, n_bits=1, generator=seeded(), **options), size=0.1)
    model.initialize(spread * gaussian(512, 1, 2, 2) + torch.tensor([[0.05, -0.05], [0.1, 0.0]], dtype=torch.float64))
    return model


def uniform_in_strata(cells: int, seed: int) -> Tensor:
    """Points of [0, 1)^4, (cells**4, 2, 1, 2, 2): two in each cell of a grid, which vary less than points at large."""
    corners = torch.cartesian_prod(*4 * [torch.arange(cells, dtype=torch.float64)]).view(-1, 1, 1, 2, 2)
    within = torch.rand(len(corners), 2, 1, 2, 2, generator=seeded(seed), dtype=torch.float64)
    return (corners + within) / cells


def mean_and_standard_error(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Of values (..., strata, 2) at `uniform_in_strata`."""
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
def test_the_probabilities_of_all_images_sum_to_one(options: dict[str, Any]) -> None:
    mean, error = probabilities(tiny_glow(0.12, options))
    assert mean.max() > 5 * mean.min()
    assert error.norm() < 0.01
    assert 0.97 < mean.sum() < 1 + 5 * error.norm()


@every_tiny_model
@pytest.mark.parametrize("spread", [0.12, 0.4])
def test_each_images_probability_is_its_share_of_the_samples(spread: float, options: dict[str, Any]) -> None:
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
def test_the_probabilities_sum_to_the_densitys_integral_over_the_cube(spread: float, options: dict[str, Any]) -> None:
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


# Classes -----------------------------------------------------------------------------------------


def conditioned_glow(**options: Any) -> Glow:
    """Perturbed everywhere but in the classes, which are as they start."""
    model = small_glow(y_condition=True, num_classes=4, **options)
    assert model.top.class_gaussian is not None
    fresh = model.top.class_gaussian.weight.detach().clone()
    perturbed(model, size=0.1)
    with torch.no_grad():
        model.top.class_gaussian.weight.copy_(fresh)
    return model


def tell_classes_apart(model: Glow) -> None:
    assert model.top.class_gaussian is not None
    perturbed(model.top.class_gaussian)


def log_prob_of_each_class(model: Glow, images: Tensor, noise: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([model.log_prob(images, noise, torch.full((len(images),), k)) for k in range(4)])


def test_classes_start_alike_and_differ_once_their_gaussians_do() -> None:
    model = conditioned_glow()
    images, noise = random_images(model, 3)
    alike = log_prob_of_each_class(model, images, noise)
    assert torch.equal(alike, alike[:1].expand(4, -1))
    tell_classes_apart(model)
    each = log_prob_of_each_class(model, images, noise)
    for k in range(4):
        others = torch.cat([each[:k], each[k + 1 :]])
        assert ((others - each[k]).abs() > 1e-3).all()


def test_without_a_class_log_prob_is_the_even_mixture() -> None:
    model = conditioned_glow(learn_top=True)
    tell_classes_apart(model)
    images, noise = random_images(model, 3)
    each = log_prob_of_each_class(model, images, noise).numpy()
    highest = each.max(axis=0)
    expected = highest + np.log(np.mean(np.exp(each - highest), axis=0))
    np.testing.assert_allclose(model.log_prob(images, noise).detach().numpy(), expected, rtol=1e-12)


def test_each_image_is_measured_by_its_own_class() -> None:
    model = conditioned_glow()
    tell_classes_apart(model)
    images, noise = random_images(model, 4)
    y = torch.tensor([3, 0, 2, 1])
    each = log_prob_of_each_class(model, images, noise)
    torch.testing.assert_close(model.log_prob(images, noise, y), each[y, torch.arange(4)], rtol=1e-12, atol=1e-12)


def test_the_same_latents_decode_to_another_image_with_another_class() -> None:
    model = conditioned_glow()
    tell_classes_apart(model)
    eps = model.draw_latents(2, seeded(), torch.float64)
    assert not torch.equal(model.decode(eps, y=torch.tensor([0, 0])), model.decode(eps, y=torch.tensor([1, 1])))
    mixed = model.decode(eps, y=torch.tensor([0, 1]))
    assert torch.equal(mixed[0], model.decode(eps, y=torch.tensor([0, 0]))[0])
    assert torch.equal(mixed[1], model.decode(eps, y=torch.tensor([1, 1]))[1])


def test_a_conditioned_bijection_needs_the_classes() -> None:
    model = conditioned_glow().float()
    with pytest.raises(ValueError, match="y is missing"):
        model(gaussian(2, 1, 4, 8, dtype=torch.float32))
    with pytest.raises(ValueError, match="y is missing"):
        model.inverse(model.draw_latents(2, seeded()))
    with pytest.raises(ValueError, match="y is missing"):
        model.decode(model.draw_latents(2, seeded()))


def test_an_unconditioned_model_takes_classes_and_does_not_use_them() -> None:
    model = perturbed(small_glow(learn_top=True), size=0.1)
    images, noise = random_images(model, 2)
    y = torch.tensor([0, 1])
    assert torch.equal(model.log_prob(images, noise, y), model.log_prob(images, noise))
    eps = model.draw_latents(2, seeded(), torch.float64)
    assert torch.equal(model.decode(eps, y=y), model.decode(eps))


def test_class_logits_of_an_unconditioned_model_are_an_error() -> None:
    model = small_glow()
    latent = model.to_top(gaussian(2, 1, 4, 8, dtype=torch.float32))
    with pytest.raises(ValueError, match="without y_condition"):
        model.top.class_logits(latent.z)


# Sampling ----------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    channels=st.sampled_from([1, 3]),
    rows=st.integers(1, 2),
    columns=st.integers(1, 3),
    K=st.sampled_from([1, 3]),
    L=st.integers(1, 3),
    n_bits=st.integers(1, 8),
)
def test_latents_and_decoded_images_have_the_models_shape(
    channels: int, rows: int, columns: int, K: int, L: int, n_bits: int
) -> None:
    shape = (channels, rows * 2**L, columns * 2**L)
    model = small_glow(shape, K, L, n_bits=n_bits)
    drawn = model.draw_latents(5, seeded())
    eps, _ = model(torch.zeros(5, *shape))
    assert [tuple(e.shape) for e in drawn] == [(5, *s) for s in model.latent_shapes] == [tuple(e.shape) for e in eps]
    assert concatenated(drawn).shape == (5, math.prod(shape))

    images = model.decode([3 * e for e in drawn])
    assert images.dtype == torch.uint8
    assert images.shape == (5, *shape)
    assert images.max().item() == 2**n_bits - 1
    assert images.min().item() == 0


def test_latents_are_standard_normal_and_come_from_the_generator() -> None:
    model = small_glow((1, 8, 8))
    latents = model.draw_latents(100, seeded(1))
    assert torch.equal(concatenated(latents), concatenated(model.draw_latents(100, seeded(1))))
    assert not torch.equal(concatenated(latents), concatenated(model.draw_latents(100, seeded(2))))
    std, mean = torch.std_mean(concatenated(latents))
    assert mean.item() == pytest.approx(0, abs=0.06)
    assert std.item() == pytest.approx(1, abs=0.05)


def test_temperature_multiplies_every_latent() -> None:
    model = perturbed(small_glow(), size=0.1)
    eps = model.draw_latents(3, seeded(), torch.float64)
    assert torch.equal(model.decode(eps, temperature=0.3), model.decode([0.3 * e for e in eps]))
    assert not torch.equal(model.decode(eps, temperature=0.3), model.decode(eps))
    coldest = model.decode(eps, temperature=0)
    assert torch.equal(coldest, coldest[:1].expand_as(coldest))


# Initialisation ----------------------------------------------------------------------------------


def actnorm_outputs(model: Glow, x: Tensor) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _module, _x, output, name=name: outputs.update({name: output[0]}))
        for name, module in model.named_modules()
        if isinstance(module, ActNorm)
    ]
    with torch.no_grad():
        model.to_top(x)
    for handle in handles:
        handle.remove()
    return outputs


@pytest.mark.parametrize("actnorm_scale", [1.0, 0.5])
@pytest.mark.parametrize("flow_coupling", ["affine", "additive"])
@pytest.mark.parametrize(("image_shape", "L"), [((1, 8, 16), 3), ((3, 4, 8), 2)])
def test_initialisation_gives_every_actnorm_mean_0_and_its_scale_on_that_batch(
    image_shape: tuple[int, int, int], L: int, flow_coupling: str, actnorm_scale: float
) -> None:
    K = 3
    model = small_glow(image_shape, K, L, flow_coupling=flow_coupling, actnorm_scale=actnorm_scale).double()
    images, noise = random_images(model, 16)
    x, _ = model.dequantization.forward(images, noise)
    model.initialize(x)
    assert model.initialized
    outputs = actnorm_outputs(model, x)
    # one before each permutation, two within each coupling network
    assert len(outputs) == 3 * K * L
    for output in outputs.values():
        std, mean = torch.std_mean(output, dim=(0, 2, 3), correction=0)
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-8)
        torch.testing.assert_close(std, torch.full_like(std, actnorm_scale), rtol=1e-3, atol=0)


def bits_of(model: Glow) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def test_a_model_is_initialised_when_all_its_actnorms_are() -> None:
    model = small_glow()
    x = gaussian(8, 1, 4, 8, dtype=torch.float32)
    seen = [model.initialized]
    with initialize_from_data(model.levels[0]):
        model.to_top(x)
    seen.append(model.initialized)
    model.initialize(x)
    seen.append(model.initialized)
    assert seen == [False, False, True]


def test_initialisation_happens_once() -> None:
    model = small_glow()
    model.initialize(gaussian(8, 1, 4, 8, dtype=torch.float32))
    before = bits_of(model)
    with pytest.raises(ValueError, match="initialised before"):
        model.initialize(5 * gaussian(8, 1, 4, 8, dtype=torch.float32))
    model(7 * gaussian(8, 1, 4, 8, dtype=torch.float32))
    assert bits_of(model) == before


@pytest.mark.parametrize("training", [True, False])
def test_using_a_model_does_not_initialise_it(training: bool) -> None:
    model = small_glow().train(training)
    before = bits_of(model)
    images, noise = random_images(model, 4)
    model(5 + gaussian(4, 1, 4, 8, dtype=torch.float32))
    model.log_prob(images, noise.float())
    model.inverse(model.draw_latents(4, seeded()))
    model.decode(model.draw_latents(4, seeded()))
    assert not model.initialized
    assert bits_of(model) == before


# Weights -----------------------------------------------------------------------------------------


def test_what_is_drawn_once_is_saved_as_buffers() -> None:
    def buffers(**options: Any) -> set[str]:
        model = small_glow(K=1, L=1, **options)
        assert {name for name, _ in model.named_buffers()} <= set(model.state_dict())
        return {name.removeprefix("levels.0.steps.0.") for name, _ in model.named_buffers()}

    actnorms = {f"{name}.initialized" for name in ("actnorm", "coupling.network.actnorm1", "coupling.network.actnorm2")}
    assert buffers() == actnorms
    assert buffers(LU_decomposed=True) == actnorms | {"permutation.row_order", "permutation.sign_s"}
    assert buffers(flow_permutation="shuffle") == actnorms | {"permutation.order"}
    assert buffers(flow_permutation="reverse") == actnorms | {"permutation.order"}


@pytest.mark.parametrize(
    "options",
    [
        *OPTIONS,
        pytest.param({"flow_permutation": "shuffle"}, id="shuffle"),
    ],
)
def test_a_model_that_was_saved_and_loaded_answers_with_the_same_bits(options: dict[str, Any]) -> None:
    model, other = small_glow(seed=1, **options), small_glow(seed=2, **options)
    perturbed(model, size=0.1).float().initialize(gaussian(8, 1, 4, 8, dtype=torch.float32))
    # safetensors refuses tensors that are not contiguous
    stored = safetensors.torch.save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    images, noise = random_images(model, 4)
    eps = model.draw_latents(4, seeded())
    y = torch.tensor([0, 1, 2, 0]) if model.y_condition else None
    expected = model.log_prob(images, noise.float(), y)
    assert not torch.equal(other.log_prob(images, noise.float(), y), expected)

    other.load_state_dict(safetensors.torch.load(stored))
    assert torch.equal(other.log_prob(images, noise.float(), y), expected)
    assert torch.equal(other.inverse(eps, y), model.inverse(eps, y))
    assert other.initialized
    with pytest.raises(ValueError, match="initialised before"):
        other.initialize(gaussian(8, 1, 4, 8, dtype=torch.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"learn_top": True, "y_condition": True},
        {"LU_decomposed": True},
        {"flow_permutation": "shuffle"},
    ],
    ids=str,
)
def test_weights_come_from_the_generator_alone(options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    first = bits_of(small_glow(seed=5, **options))
    torch.manual_seed(2)
    assert bits_of(small_glow(seed=5, **options)) == first
    assert bits_of(small_glow(seed=6, **options)) != first


@pytest.mark.parametrize(
    "options",
    [
        {"learn_top": True},
        {"LU_decomposed": True, "flow_coupling": "additive"},
        {"flow_permutation": "reverse", "learn_top": True, "y_condition": True, "num_classes": 2},
    ],
    ids=str,
)
def test_every_weight_learns_from_log_prob(options: dict[str, Any]) -> None:
    model = perturbed(small_glow(**options), size=0.1)
    images, noise = random_images(model, 8)
    model.log_prob(images, noise, torch.arange(8) % 2 if model.y_condition else None).mean().backward()
    idle = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any() or not parameter.grad.isfinite().all()
    }
    # the class head learns from class_logits, not from log_prob
    assert idle == ({"top.class_head.weight", "top.class_head.bias"} if model.y_condition else set())


# Sizes -------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(height=st.integers(1, 16), width=st.integers(1, 16), L=st.integers(1, 3))
def test_sides_must_be_divided_by_every_squeeze(height: int, width: int, L: int) -> None:
    if height % 2**L == 0 and width % 2**L == 0:
        assert small_glow((1, height, width), K=1, L=L).image_shape == (1, height, width)
    else:
        with pytest.raises(ValueError, match=f"{height}x{width}.*L={L}.*{2**L}"):
            small_glow((1, height, width), K=1, L=L)


@pytest.mark.parametrize("shape", [(1, 12, 16), (1, 16, 12), (3, 28, 28)])
def test_a_side_that_only_some_squeezes_divide_is_refused(shape: tuple[int, int, int]) -> None:
    small_glow(shape, K=1, L=2)
    with pytest.raises(ValueError, match="8 divides"):
        small_glow(shape, K=1, L=3)


def test_the_multi_scale_latents_are_glows() -> None:
    assert small_glow((3, 32, 32), K=1, L=3).latent_shapes == [(6, 16, 16), (12, 8, 8), (48, 4, 4)]
