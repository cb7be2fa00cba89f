import itertools

import numpy as np
import pytest
import torch

from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import MODES, RealImages, SampleRequest
from glow_pipeline.sampling.decoding import draw
from glow_pipeline.sampling.pictures import even_steps
from glow_pipeline.sampling.vtemp import vary_temperature
from tests.conftest import jittered_glow
from tests.plots.test_grids import pictures, shown


def test_temperatures_rise_evenly_from_0_to_2() -> None:
    sequence = vary_temperature(jittered_glow(), 3, even_steps(2, 5), generator(0, "sample"))
    assert sequence.steps == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [images.shape for images in sequence.images] == [(3, 1, 8, 8)] * 5


def test_temperature_0_gives_one_image() -> None:
    images = vary_temperature(jittered_glow(), 6, even_steps(2, 3), generator(0, "sample")).images
    assert (images[0] == images[0][:1]).all()
    assert not (images[1] == images[1][:1]).all()


def test_temperature_0_gives_one_image_a_class() -> None:
    model = jittered_glow(y_condition=True, num_classes=2)
    with torch.no_grad():
        model.get_parameter("top.class_gaussian.weight")[1, :8] += 3.0
    first = vary_temperature(model, 4, even_steps(2, 3), generator(0, "sample"), torch.tensor([0, 1, 0, 1])).images[0]
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[1], first[3])
    assert not torch.equal(first[0], first[1])


def test_latents_stay_the_same_at_each_temperature() -> None:
    model = jittered_glow()
    sequence = vary_temperature(model, 4, even_steps(2, 3), generator(0, "sample"))
    assert torch.equal(sequence.images[1], draw(model, 4, 1.0, generator(0, "sample")).images)
    assert torch.equal(sequence.images[2], draw(model, 4, 2.0, generator(0, "sample")).images)


def test_images_are_broken_from_their_first_overflow() -> None:
    model = jittered_glow()
    with torch.no_grad():
        model.get_parameter("splits.0.network.log_scale").zero_()
        model.get_parameter("splits.0.network.conv.bias")[-1] = 87.0  # exp of it is 6e37, and float32 ends at 3e38
    sequence = vary_temperature(model, 4, even_steps(2, 5), generator(0, "sample"))
    first, *_, last = sequence.broken
    assert not first.any()
    assert last.any()
    assert all((later | ~before).all() for before, later in itertools.pairwise(sequence.broken))
    alone = draw(model, 4, 2.0, generator(0, "sample"))
    assert torch.equal(alone.broken, last)


@pytest.mark.parametrize("frames", [2, 3, 8, 40])
def test_columns_are_quarters_whatever_the_frames(frames: int) -> None:
    model, real = jittered_glow(), RealImages.none((1, 8, 8))
    movie = MODES["vtemp"].draw(SampleRequest(model, "digits", [], 2, 0.7, None, frames, seed=0, real=real))
    assert isinstance(movie, Movie)
    labels = [text.get_text() for text in movie.still.texts]
    assert labels[:-1] == [f"T {quarter / 4:.2f}" for quarter in range(9)]
    assert len(movie.frames) == frames
    # What is drawn below a label is at that temperature.
    for label, picture in zip(labels[:-1], pictures(movie.still)[:9], strict=True):
        alone = draw(model, 2, float(label.removeprefix("T ")), generator(0, "sample")).images[0, 0]
        assert np.array_equal(shown(picture)[..., 0], np.rint(alone.numpy() * 17.0))
