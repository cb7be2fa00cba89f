from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from tests.flow.helpers import (
    gaussian,
    perturbed,
    random_images,
    seeded,
    small_glow,
)


def conditioned_glow(**options: Any) -> Glow:
    """Perturbed everywhere but in the classes, which are as they start."""
    model = small_glow(y_condition=True, num_classes=4, **options)
    assert model.top.class_gaussian is not None
    fresh = model.top.class_gaussian.weight.detach().clone()
    perturbed(model, size=0.1)
    with torch.no_grad():
        model.top.class_gaussian.weight.copy_(fresh)
    return model


def separate_classes(model: Glow) -> None:
    assert model.top.class_gaussian is not None
    perturbed(model.top.class_gaussian)


def log_prob_of_each_class(model: Glow, images: Tensor, noise: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([model.log_prob(images, noise, torch.full((len(images),), k)) for k in range(4)])


def test_classes_start_equal_and_differ_with_their_gaussians() -> None:
    model = conditioned_glow()
    images, noise = random_images(model, 3)
    alike = log_prob_of_each_class(model, images, noise)
    assert torch.equal(alike, alike[:1].expand(4, -1))
    separate_classes(model)
    each = log_prob_of_each_class(model, images, noise)
    for k in range(4):
        others = torch.cat([each[:k], each[k + 1 :]])
        assert ((others - each[k]).abs() > 1e-3).all()


def test_log_prob_without_class_is_the_mixture() -> None:
    model = conditioned_glow(learn_top=True)
    separate_classes(model)
    images, noise = random_images(model, 3)
    each = log_prob_of_each_class(model, images, noise).numpy()
    highest = each.max(axis=0)
    expected = highest + np.log(np.mean(np.exp(each - highest), axis=0))
    np.testing.assert_allclose(model.log_prob(images, noise).detach().numpy(), expected, rtol=1e-12)


def test_each_image_is_scored_by_its_class() -> None:
    model = conditioned_glow()
    separate_classes(model)
    images, noise = random_images(model, 4)
    y = torch.tensor([3, 0, 2, 1])
    each = log_prob_of_each_class(model, images, noise)
    torch.testing.assert_close(model.log_prob(images, noise, y), each[y, torch.arange(4)], rtol=1e-12, atol=1e-12)


def test_class_changes_the_decoded_image() -> None:
    model = conditioned_glow()
    separate_classes(model)
    eps = model.draw_latents(2, seeded(), torch.float64)
    assert not torch.equal(model.decode(eps, y=torch.tensor([0, 0])), model.decode(eps, y=torch.tensor([1, 1])))
    mixed = model.decode(eps, y=torch.tensor([0, 1]))
    assert torch.equal(mixed[0], model.decode(eps, y=torch.tensor([0, 0]))[0])
    assert torch.equal(mixed[1], model.decode(eps, y=torch.tensor([1, 1]))[1])


def test_conditioned_bijection_needs_the_classes() -> None:
    model = conditioned_glow().float()
    with pytest.raises(ValueError, match="y is missing"):
        model(gaussian(2, 1, 4, 8, dtype=torch.float32))
    with pytest.raises(ValueError, match="y is missing"):
        model.inverse(model.draw_latents(2, seeded()))
    with pytest.raises(ValueError, match="y is missing"):
        model.decode(model.draw_latents(2, seeded()))


def test_unconditioned_model_ignores_classes() -> None:
    model = perturbed(small_glow(learn_top=True), size=0.1)
    images, noise = random_images(model, 2)
    y = torch.tensor([0, 1])
    assert torch.equal(model.log_prob(images, noise, y), model.log_prob(images, noise))
    eps = model.draw_latents(2, seeded(), torch.float64)
    assert torch.equal(model.decode(eps, y=y), model.decode(eps))


def test_class_logits_need_a_conditioned_model() -> None:
    model = small_glow()
    latent = model.to_top(gaussian(2, 1, 4, 8, dtype=torch.float32))
    with pytest.raises(ValueError, match="without y_condition"):
        model.top.class_logits(latent.z)
