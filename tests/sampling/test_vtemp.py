import itertools

import pytest
import torch

from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import draw
from glow_pipeline.sampling.vtemp import vary_temperature
from tests.conftest import jittered_glow


def test_temperatures_rise_evenly_from_0_to_2() -> None:
    sequence = vary_temperature(jittered_glow(), 3, 5, generator(0, "sample"))
    assert sequence.steps == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [images.shape for images in sequence.images] == [(3, 1, 8, 8)] * 5


def test_temperature_0_gives_one_image() -> None:
    images = vary_temperature(jittered_glow(), 6, 3, generator(0, "sample")).images
    assert (images[0] == images[0][:1]).all()
    assert not (images[1] == images[1][:1]).all()


def test_temperature_0_gives_one_image_a_class() -> None:
    model = jittered_glow(y_condition=True, num_classes=2)
    with torch.no_grad():
        model.get_parameter("top.class_gaussian.weight")[1, :8] += 3.0
    first = vary_temperature(model, 4, 3, generator(0, "sample"), torch.tensor([0, 1, 0, 1])).images[0]
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[1], first[3])
    assert not torch.equal(first[0], first[1])


def test_latents_stay_the_same_at_each_temperature() -> None:
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
