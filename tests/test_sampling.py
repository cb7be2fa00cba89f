import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.randomness import generator
from glow_pipeline.sampling import draw, interpolate, there_and_back, vary_temperature
from tests.conftest import jittered_glow, random_images

START, END = random_images(4, seed=0) >> 4, random_images(4, seed=1) >> 4
MIDDLE_OF_THE_LEVEL = torch.full(START.shape, 0.5)


def test_drawn_images_have_the_shape_and_levels_of_the_model() -> None:
    images, broken = draw(jittered_glow(), 30, 1.0, generator(0, "sample"))
    assert not broken.any()
    assert images.shape == (30, 1, 8, 8)
    assert images.dtype == torch.uint8
    assert images.max() <= 15
    assert images.unique().numel() > 8


def test_drawn_images_are_those_of_their_generator() -> None:
    model = jittered_glow()
    first = draw(model, 5, 0.7, generator(0, "sample")).images
    assert torch.equal(draw(model, 5, 0.7, generator(0, "sample")).images, first)
    assert not torch.equal(draw(model, 5, 0.7, generator(1, "sample")).images, first)


def test_a_temperature_is_a_factor_on_the_latents() -> None:
    model = jittered_glow()
    eps = model.draw_latents(5, generator(0, "sample"))
    with torch.no_grad():
        x = model.inverse([0.3 * e for e in eps])
    expected = np.clip(np.floor((x.numpy() + 0.5) * 16), 0, 15)
    assert np.array_equal(draw(model, 5, 0.3, generator(0, "sample")).images.numpy(), expected)


def test_drawn_images_are_of_the_classes_that_were_asked_for() -> None:
    model = jittered_glow(y_condition=True, num_classes=2)
    with torch.no_grad():
        model.get_parameter("top.class_gaussian.weight")[1, :8] += 3.0
    one = draw(model, 3, 0.7, generator(0, "sample"), torch.tensor([0, 1, 0])).images
    zeros = draw(model, 3, 0.7, generator(0, "sample"), torch.tensor([0, 0, 0])).images
    assert torch.equal(one[[0, 2]], zeros[[0, 2]])
    assert not torch.equal(one[1], zeros[1])


# Temperature ----------------------------------------------------------------------------------


def test_temperatures_rise_evenly_from_0_to_2() -> None:
    sequence = vary_temperature(jittered_glow(), 3, 5, generator(0, "sample"))
    assert sequence.steps == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [images.shape for images in sequence.images] == [(3, 1, 8, 8)] * 5


def test_at_temperature_0_all_latents_give_one_image() -> None:
    images = vary_temperature(jittered_glow(), 6, 3, generator(0, "sample")).images
    assert (images[0] == images[0][:1]).all()
    assert not (images[1] == images[1][:1]).all()


def test_at_temperature_0_all_latents_of_a_class_give_one_image() -> None:
    model = jittered_glow(y_condition=True, num_classes=2)
    with torch.no_grad():
        model.get_parameter("top.class_gaussian.weight")[1, :8] += 3.0
    first = vary_temperature(model, 4, 3, generator(0, "sample"), torch.tensor([0, 1, 0, 1])).images[0]
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[1], first[3])
    assert not torch.equal(first[0], first[1])


def test_the_same_latents_are_shown_at_each_temperature() -> None:
    model = jittered_glow()
    sequence = vary_temperature(model, 4, 3, generator(0, "sample"))
    assert torch.equal(sequence.images[1], draw(model, 4, 1.0, generator(0, "sample")).images)
    assert torch.equal(sequence.images[2], draw(model, 4, 2.0, generator(0, "sample")).images)


def test_images_are_broken_from_their_first_overflow() -> None:
    model = jittered_glow()
    with torch.no_grad():
        model.get_parameter("splits.0.network.log_scale").zero_()
        model.get_parameter("splits.0.network.conv.bias")[-1] = 87.0  # exp of it is 6e37, and float32 ends at 3e38
    sequence = vary_temperature(model, 4, 5, generator(0, "sample"))
    first, *_, last = sequence.broken
    assert not first.any()
    assert last.any()
    assert all((later | ~before).all() for before, later in itertools.pairwise(sequence.broken))
    alone = draw(model, 4, 2.0, generator(0, "sample"))
    assert torch.equal(alone.broken, last)


# Interpolation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [{}, {"flow_coupling": "additive", "flow_permutation": "shuffle"}, {"LU_decomposed": True, "learn_top": True}],
    ids=str,
)
@pytest.mark.parametrize("frames", [2, 5])
def test_the_ends_are_the_originals(arguments: dict[str, object], frames: int) -> None:
    sequence = interpolate(jittered_glow(**arguments), START, END, frames, MIDDLE_OF_THE_LEVEL)
    assert len(sequence.images) == frames
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_the_ends_are_the_originals_with_any_noise() -> None:
    noise = torch.rand(START.shape, generator=generator(0, "interpolate")).clamp(1e-3, 1 - 1e-3)
    sequence = interpolate(jittered_glow(), START, END, 3, noise)
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_the_ends_are_the_originals_of_a_conditioned_model() -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    y_start, y_end = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    sequence = interpolate(model, START, END, 4, MIDDLE_OF_THE_LEVEL, y_start, y_end)
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_the_parts_of_the_way_are_even_and_the_lines_straight_in_latent_space() -> None:
    model = jittered_glow()
    sequence = interpolate(model, START, END, 5, MIDDLE_OF_THE_LEVEL)
    assert sequence.steps == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    with torch.no_grad():
        a, _ = model((START + 0.5) / 16 - 0.5)
        b, _ = model((END + 0.5) / 16 - 0.5)
        quarter = model.inverse([0.75 * left + 0.25 * right for left, right in zip(a, b, strict=True)])
    expected = np.clip(np.floor((quarter.numpy() + 0.5) * 16), 0, 15)
    assert (sequence.images[1].numpy() != expected).mean() < 0.01  # an ulp may tip a value over an edge


def test_nothing_moves_between_an_image_and_itself() -> None:
    sequence = interpolate(jittered_glow(), START, START, 4, MIDDLE_OF_THE_LEVEL)
    assert all(torch.equal(images, START) for images in sequence.images)


def test_interpolation_keeps_no_graph() -> None:
    sequence = interpolate(jittered_glow(), START, END, 2, MIDDLE_OF_THE_LEVEL)
    assert not any(images.requires_grad for images in sequence.images)


# There and back -------------------------------------------------------------------------------


@given(st.integers(2, 12))
def test_there_and_back_shows_each_turning_point_once(n: int) -> None:
    steps = [torch.tensor(i) for i in range(n)]
    order = [int(step) for step in there_and_back(steps)]
    assert order == [*range(n), *range(n - 2, 0, -1)]
    # Played in a loop, each picture is the neighbour of the next.
    assert all(abs(a - b) == 1 for a, b in zip(order, [*order[1:], order[0]], strict=True))


def test_there_and_back_leaves_what_it_was_given() -> None:
    steps = [torch.tensor(i) for i in range(3)]
    there_and_back(steps)
    assert len(steps) == 3
