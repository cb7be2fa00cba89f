import numpy as np
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.content import content_noise
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator, key
from glow_pipeline.sampling import MODES, LabelledImages
from glow_pipeline.sampling.attribute import attributes_of, check_attribute, mean_directions, move
from tests.conftest import jittered_glow
from tests.sampling.requests import levels_of, pixels_in, request_of, title_of, training_images

TRAINING, LABELS = levels_of(42, seed=0), torch.arange(42) % 3
TEST = LabelledImages(levels_of(12, seed=1), torch.arange(12) % 3)
COLUMN_LABELS = ["-1.00", "-0.75", "-0.50", "-0.25", "0", "+0.25", "+0.50", "+0.75", "+1.00"]
CONDITIONED: dict[str, object] = {"y_condition": True, "num_classes": 3, "learn_top": True}


def direction_in_x_space_latents(model: Glow, with_it: torch.Tensor) -> list[np.ndarray]:
    """Mean latents of training images with an attribute minus without, image by image, before the top prior."""
    latents: dict[bool, list[np.ndarray]] = {True: [], False: []}
    with torch.no_grad():
        for image, has_it in zip(TRAINING, with_it.tolist(), strict=True):
            noise = content_noise(image[None], key(0, "attribute"))
            top = model.to_top((image[None] + noise) / 16 - 0.5)
            latents[has_it].append(np.concatenate([level.numpy().ravel() for level in [*top.eps, top.z]]))
    direction = np.mean(latents[True], axis=0, dtype=np.float64) - np.mean(latents[False], axis=0, dtype=np.float64)
    sizes = np.cumsum([np.prod(shape) for shape in model.latent_shapes])
    parts = np.split(direction, sizes[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, model.latent_shapes, strict=True)]


@pytest.mark.parametrize("arguments", [{}, CONDITIONED], ids=["plain", "conditioned"])
@pytest.mark.parametrize("attribute", [(1,), (0, 2)])
def test_direction_is_with_minus_without(arguments: dict[str, object], attribute: tuple[int, ...]) -> None:
    model = jittered_glow(**arguments)
    training = training_images(TRAINING, LABELS)
    request = request_of(model, TEST, training, attribute=attribute)
    directions, counts = mean_directions(request, attributes_of(request, training.labels), training)
    expected = direction_in_x_space_latents(model, torch.isin(LABELS, torch.tensor(attribute)))
    assert counts.tolist() == [14 * len(attribute), 42 - 14 * len(attribute)]
    for found, level in zip(directions, expected, strict=True):
        assert found.shape == (1, *level.shape)
        assert np.allclose(found[0], level, atol=1e-5)


def test_without_a_choice_each_class_is_an_attribute() -> None:
    training = training_images(TRAINING, LABELS)
    request = request_of(jittered_glow(), TEST, training)
    directions, counts = mean_directions(request, attributes_of(request, training.labels), training)
    assert counts.tolist() == [14, 14, 14, 0]
    for k in range(3):
        expected = direction_in_x_space_latents(request.flow, torch.isin(LABELS, k))
        assert all(np.allclose(found[k], level, atol=1e-5) for found, level in zip(directions, expected, strict=True))


@pytest.mark.parametrize("arguments", [{}, CONDITIONED], ids=["plain", "conditioned"])
def test_latents_move_straight_through_the_image(arguments: dict[str, object]) -> None:
    model = jittered_glow(**arguments)
    random = generator(2, "test")
    directions = [0.3 * torch.randn(1, *shape, generator=random) for shape in model.latent_shapes]
    movement = move(model, TEST, directions, [-1.0, 0.0, 0.5], seed=0)
    assert movement.steps == [-1.0, 0.0, 0.5]
    assert torch.equal(movement.images[1], TEST.images)
    noise = torch.rand(TEST.images.shape, generator=generator(0, "attribute"))
    y = TEST.labels if model.y_condition else None
    with torch.no_grad():
        latent = model.to_top((TEST.images + noise) / 16 - 0.5)
        top = model.top(latent.z + 0.5 * directions[1], y)[0]
        x = model.inverse([latent.eps[0] + 0.5 * directions[0], top], y)
    expected = np.clip(np.floor((x.numpy() + 0.5) * 16), 0, 15)
    assert (movement.images[2].numpy() != expected).mean() < 0.01  # an ulp may tip a value over an edge
    assert not torch.equal(movement.images[0], movement.images[1])


@pytest.mark.parametrize(
    ("attribute", "labels"),
    [((1,), ["cats", "cats", "dogs", "dogs"]), (None, ["cats", "dogs", "class 2"])],
)
def test_rows_are_images_or_classes(attribute: tuple[int, ...] | None, labels: list[str]) -> None:
    test = TEST if attribute is None else LabelledImages(TEST.images[:4], torch.tensor([0, 1, 0, 1]))
    training = training_images(TRAINING, LABELS)
    request = request_of(jittered_glow(), test, training, attribute=attribute, class_names=("cats", "dogs"))
    movie = MODES["attribute"].draw(request)
    assert isinstance(movie, Movie)
    texts = [text.get_text() for text in movie.still.texts]
    assert texts[: len(labels)] == labels
    assert texts[len(labels) : -1] == ["real", *COLUMN_LABELS]
    pixels = pixels_in(movie.still)
    assert len(pixels) == 10 * len(labels)
    assert all(np.array_equal(pixels[row], pixels[row + 5]) for row in range(0, len(pixels), 10)), "at 0 the real ones"
    said = (
        "42 training images"
        if attribute is None
        else "of class dogs: to their latents are added the mean latents of 14"
    )
    assert said in title_of(movie.still)


def test_title_counts_classes_that_have_no_row() -> None:
    request = request_of(jittered_glow(), TEST, training_images(TRAINING, torch.arange(42) % 12))
    movie = MODES["attribute"].draw(request)
    assert isinstance(movie, Movie)
    assert "of each of the first 10 of 12 classes" in title_of(movie.still)


@pytest.mark.parametrize(
    ("attribute", "occurring", "said"),
    [
        (None, [3], "sample.mode=attribute: the training images of tiny are of one class"),
        (
            (5,),
            [0, 1, 2],
            "sample.attribute=5: none of the training images of tiny are of it; give some of its classes",
        ),
        ((0, 1), [0, 1], "sample.attribute=cats+dogs: all of the training images of tiny are of it"),
    ],
)
def test_attribute_of_none_or_all_is_refused(
    attribute: tuple[int, ...] | None, occurring: list[int], said: str
) -> None:
    with pytest.raises(GlowPipelineError) as refused:
        check_attribute(attribute, occurring, "tiny", ["cats", "dogs"])
    assert str(refused.value).startswith(said)


def test_class_that_was_not_trained_on_is_refused() -> None:
    training = training_images(TRAINING, LABELS)
    without = LABELS != 1
    unseen = training_images(TRAINING[without], LABELS[without])
    partly = type(training)(training.labels, lambda places: unseen.read(np.arange(len(unseen.labels))))
    request = request_of(jittered_glow(), TEST, partly, attribute=(1,))
    with pytest.raises(GlowPipelineError, match="0 of 28 images that the model was trained on are of class 1"):
        MODES["attribute"].draw(request)
