import numpy as np
import pytest
import torch

from glow_pipeline.randomness import generator
from glow_pipeline.sampling.interpolate import interpolate
from tests.conftest import jittered_glow, random_images

START, END = random_images(4, seed=0) >> 4, random_images(4, seed=1) >> 4
MIDDLE_OF_THE_LEVEL = torch.full(START.shape, 0.5)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"flow_coupling": "additive", "flow_permutation": "shuffle"}, {"LU_decomposed": True, "learn_top": True}],
    ids=str,
)
@pytest.mark.parametrize("frames", [2, 5])
def test_path_ends_are_originals(arguments: dict[str, object], frames: int) -> None:
    sequence = interpolate(jittered_glow(**arguments), START, END, frames, MIDDLE_OF_THE_LEVEL)
    assert len(sequence.images) == frames
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_path_ends_are_originals_with_any_noise() -> None:
    noise = torch.rand(START.shape, generator=generator(0, "interpolate")).clamp(1e-3, 1 - 1e-3)
    sequence = interpolate(jittered_glow(), START, END, 3, noise)
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_path_ends_are_originals_of_conditioned_model() -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    y_start, y_end = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    sequence = interpolate(model, START, END, 4, MIDDLE_OF_THE_LEVEL, y_start, y_end)
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_paths_are_even_and_straight_in_latent_space() -> None:
    model = jittered_glow()
    sequence = interpolate(model, START, END, 5, MIDDLE_OF_THE_LEVEL)
    assert sequence.steps == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    with torch.no_grad():
        a, _ = model((START + 0.5) / 16 - 0.5)
        b, _ = model((END + 0.5) / 16 - 0.5)
        quarter = model.inverse([0.75 * left + 0.25 * right for left, right in zip(a, b, strict=True)])
    expected = np.clip(np.floor((quarter.numpy() + 0.5) * 16), 0, 15)
    assert (sequence.images[1].numpy() != expected).mean() < 0.01  # an ulp may tip a value over an edge


def test_path_from_an_image_to_itself_stands_still() -> None:
    sequence = interpolate(jittered_glow(), START, START, 4, MIDDLE_OF_THE_LEVEL)
    assert all(torch.equal(images, START) for images in sequence.images)


def test_interpolation_keeps_no_graph() -> None:
    sequence = interpolate(jittered_glow(), START, END, 2, MIDDLE_OF_THE_LEVEL)
    assert not any(images.requires_grad for images in sequence.images)
