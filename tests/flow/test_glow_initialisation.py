from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.flow.actnorm import ActNorm, initialize_from_data
from tests.flow.helpers import (
    OPTIONS,
    gaussian,
    perturbed,
    random_images,
    seeded,
    small_glow,
)


def actnorm_outputs(model: Glow, x: Tensor) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    model.execution = None  # the plain layers, which contain the actnorms
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
def test_initialisation_normalises_every_actnorm_on_the_batch(
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


def test_model_is_initialised_when_all_actnorms_are() -> None:
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


# Constant images -----------------------------------------------------------------------------


def without_variation(case: str) -> tuple[Tensor, Tensor]:
    """Images 3x16x16 and noise, with something constant in all of them."""
    images = torch.randint(0, 256, (8, 3, 16, 16), generator=seeded()).to(torch.uint8)
    noise = torch.rand(images.shape, generator=seeded(1))
    match case:
        case "a black channel":
            images[:, 1], noise[:, 1] = 0, 0.3
        case "all grey":
            images[:], noise[:] = 77, 0.3
        case "all white, with noise":
            images[:] = 255
        case "an image of one pixel a channel at the top":
            images, noise = images[:1, :, :8, :8], noise[:1, :, :8, :8]
    return images, noise


@pytest.mark.parametrize("options", [{}, {"flow_coupling": "additive", "LU_decomposed": True}], ids=str)
@pytest.mark.parametrize(
    "case",
    ["a black channel", "all grey", "all white, with noise", "an image of one pixel a channel at the top"],
)
def test_initialisation_from_constant_images_stays_finite(case: str, options: dict[str, Any]) -> None:
    images, noise = without_variation(case)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    model = Glow(shape, K=8, L=3, hidden_channels=16, generator=seeded(), **options)
    model.initialize(model.dequantization.forward(images, noise)[0])
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    others = random_images(model, 8, seed=2)
    for given_images, given_noise in ((images, noise), (others[0], others[1].float())):
        model.zero_grad()
        log_prob = model.log_prob(given_images, given_noise)
        assert log_prob.isfinite().all()
        log_prob.mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# Weights -----------------------------------------------------------------------------------------


def test_values_drawn_once_are_buffers() -> None:
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
def test_loaded_model_computes_the_same_bits(options: dict[str, Any]) -> None:
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
def test_weights_come_from_the_generator_only(options: dict[str, Any]) -> None:
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
def test_side_that_some_squeezes_divide_is_refused(shape: tuple[int, int, int]) -> None:
    small_glow(shape, K=1, L=2)
    with pytest.raises(ValueError, match="8 divides"):
        small_glow(shape, K=1, L=3)


def test_latent_shapes_are_those_of_glow() -> None:
    assert small_glow((3, 32, 32), K=1, L=3).latent_shapes == [(6, 16, 16), (12, 8, 8), (48, 4, 4)]
