import numpy as np
import pytest
import torch

from glow_pipeline.flow import Glow
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Decoded, Movement, decode, draw
from tests.conftest import jittered_glow
from tests.fake_gpu import CUDA, fake_gpu


def test_drawn_images_have_shape_and_levels_of_model() -> None:
    images, broken = draw(jittered_glow(), 30, 1.0, generator(0, "sample"))
    assert not broken.any()
    assert images.shape == (30, 1, 8, 8)
    assert images.dtype == torch.uint8
    assert images.max() <= 15
    assert images.unique().numel() > 8


def test_generator_determines_drawn_images() -> None:
    model = jittered_glow()
    first = draw(model, 5, 0.7, generator(0, "sample")).images
    assert torch.equal(draw(model, 5, 0.7, generator(0, "sample")).images, first)
    assert not torch.equal(draw(model, 5, 0.7, generator(1, "sample")).images, first)


def test_temperature_is_a_factor_on_latents() -> None:
    model = jittered_glow()
    eps = model.draw_latents(5, generator(0, "sample"))
    with torch.no_grad():
        x = model.inverse([0.3 * e for e in eps])
    expected = np.clip(np.floor((x.numpy() + 0.5) * 16), 0, 15)
    assert np.array_equal(draw(model, 5, 0.3, generator(0, "sample")).images.numpy(), expected)


def test_drawn_images_are_of_requested_classes() -> None:
    model = jittered_glow(y_condition=True, num_classes=2)
    with torch.no_grad():
        model.get_parameter("top.class_gaussian.weight")[1, :8] += 3.0
    one = draw(model, 3, 0.7, generator(0, "sample"), torch.tensor([0, 1, 0])).images
    zeros = draw(model, 3, 0.7, generator(0, "sample"), torch.tensor([0, 0, 0])).images
    assert torch.equal(one[[0, 2]], zeros[[0, 2]])
    assert not torch.equal(one[1], zeros[1])


def test_steps_with_broken_images_are_those_with_any() -> None:
    broken = ([False, False], [True, False], [False, False], [True, True])
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    movement = Movement([0.0, 0.5, 1.0, 1.5], [Decoded(images, torch.tensor(each)) for each in broken])
    assert movement.steps_with_broken_images() == [0.5, 1.5]


def test_host_does_not_wait_for_decoded_images(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as waits:
        with CUDA:
            model = Glow((3, 8, 8), K=2, L=2, hidden_channels=8)
            eps = [torch.zeros(4, *shape) for shape in model.latent_shapes]
        waits.seen.clear()  # those of making the flow
        with model.unchanging():
            drawn = [decode(model, eps, temperature) for temperature in (0.5, 1.0)]
        assert all(images.device.type == "cuda" for images, _ in drawn)
        assert not waits.seen
