from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import MODES, LabelledImages, RealImages, SampleRequest
from glow_pipeline.sampling.interpolate import interpolate
from glow_pipeline.sampling.latent_path import LatentPath
from glow_pipeline.sampling.pictures import even_steps
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
    sequence = interpolate(jittered_glow(**arguments), START, END, even_steps(1, frames), MIDDLE_OF_THE_LEVEL)
    assert len(sequence.images) == frames
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_path_ends_are_originals_with_any_noise() -> None:
    noise = torch.rand(START.shape, generator=generator(0, "interpolate")).clamp(1e-3, 1 - 1e-3)
    sequence = interpolate(jittered_glow(), START, END, even_steps(1, 3), noise)
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_path_ends_are_originals_of_conditioned_model() -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    y_start, y_end = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    sequence = interpolate(model, START, END, even_steps(1, 4), MIDDLE_OF_THE_LEVEL, y_start, y_end)
    assert torch.equal(sequence.images[0], START)
    assert torch.equal(sequence.images[-1], END)


def test_paths_are_even_and_straight_in_latent_space() -> None:
    model = jittered_glow()
    sequence = interpolate(model, START, END, even_steps(1, 5), MIDDLE_OF_THE_LEVEL)
    assert sequence.steps == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    with torch.no_grad():
        a, _ = model((START + 0.5) / 16 - 0.5)
        b, _ = model((END + 0.5) / 16 - 0.5)
        quarter = model.inverse([0.75 * left + 0.25 * right for left, right in zip(a, b, strict=True)])
    expected = np.clip(np.floor((quarter.numpy() + 0.5) * 16), 0, 15)
    assert (sequence.images[1].numpy() != expected).mean() < 0.01  # an ulp may tip a value over an edge


def test_path_from_an_image_to_itself_stands_still() -> None:
    sequence = interpolate(jittered_glow(), START, START, even_steps(1, 4), MIDDLE_OF_THE_LEVEL)
    assert all(torch.equal(images, START) for images in sequence.images)


def test_interpolation_keeps_no_graph() -> None:
    sequence = interpolate(jittered_glow(), START, END, even_steps(1, 2), MIDDLE_OF_THE_LEVEL)
    assert not any(images.requires_grad for images in sequence.images)


@pytest.mark.parametrize("path", ["linear", "sphere"])
def test_path_ends_are_real_digits(path: LatentPath) -> None:
    digits = torch.from_numpy(load_digits().images).clamp(max=15).to(torch.uint8)[:100, None]
    start, end = digits[:50], digits[50:]
    noise = torch.rand(start.shape, generator=generator(0, "interpolate")).clamp(1e-3, 1 - 1e-3)
    sequence = interpolate(jittered_glow(), start, end, even_steps(1, 5), noise, path=path)
    assert torch.equal(sequence.images[0], start)
    assert torch.equal(sequence.images[-1], end)
    assert all((a != b).any() for a, b in pairwise(sequence.images))


def test_paths_differ_between_their_ends() -> None:
    line, sphere = (
        interpolate(jittered_glow(), START, END, [0.0, 0.5, 1.0], MIDDLE_OF_THE_LEVEL, path=path).images
        for path in ("linear", "sphere")
    )
    assert [torch.equal(a, b) for a, b in zip(line, sphere, strict=True)] == [True, False, True]


@pytest.mark.parametrize("path", ["linear", "sphere"])
@pytest.mark.parametrize("frames", [2, 3, 8, 40])
def test_columns_are_tenths_whatever_the_frames(frames: int, path: LatentPath) -> None:
    real = RealImages(LabelledImages(torch.cat([START, END]), torch.zeros(8, dtype=torch.int64)))
    request = SampleRequest(jittered_glow(), "digits", [], 8, 0.7, None, frames, seed=0, real=real, path=path)
    movie = MODES["interpolate"].draw(request)
    assert isinstance(movie, Movie)
    labels = [text.get_text() for text in movie.still.texts]
    tenths = ["0.00", "0.10", "0.20", "0.30", "0.40", "0.50", "0.60", "0.70", "0.80", "0.90", "1.00"]
    assert labels[:-1] == ["real", *tenths, "real"]
    assert ("great circles" if path == "sphere" else "straight lines") in labels[-1]
    assert len(movie.frames) == frames


def test_sample_path_is_the_path_that_is_drawn() -> None:
    real = RealImages(LabelledImages(torch.cat([START, END]), torch.zeros(8, dtype=torch.int64)))
    movies = [
        MODES["interpolate"].draw(SampleRequest(jittered_glow(), "digits", [], 8, 0.7, None, 3, 0, real, path))
        for path in ("linear", "sphere")
    ]
    line, sphere = (movie.frames for movie in movies if isinstance(movie, Movie))
    assert [np.array_equal(a, b) for a, b in zip(line, sphere, strict=True)] == [True, False, True]
