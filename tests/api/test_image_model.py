"""Samples, bits per dimension and latents of a model in Python."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.api.image_model import ImageModel
from glow_pipeline.errors import GlowPipelineError
from tests.api.models import image_model
from tests.conftest import jittered_glow, random_images
from tests.verdict.judges import NLL, nll_judge

CONDITIONED = {"y_condition": True, "num_classes": 3}


@pytest.fixture(scope="module")
def model() -> ImageModel:
    return image_model()


def test_same_seed_draws_the_same_images(model: ImageModel) -> None:
    drawn = model.sample(5, seed=3)
    assert drawn.array.shape == (5, 8, 8)
    assert drawn.array.dtype == np.uint8
    assert np.array_equal(model.sample(5, seed=3).array, drawn.array)
    assert not np.array_equal(model.sample(5, seed=4).array, drawn.array)


def test_parts_of_many_images_are_drawn_alike(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    together = model.sample(7)
    monkeypatch.setattr("glow_pipeline.api.image_model.scoring_batch", lambda flow: 3)
    assert np.array_equal(model.sample(7).array, together.array)


def test_temperature_zero_draws_one_image(model: ImageModel) -> None:
    cold = model.sample(4, temperature=0)
    assert (cold.array == cold.array[0]).all()


def test_classes_are_in_turn_or_as_given() -> None:
    model = image_model(**CONDITIONED)
    with torch.no_grad():
        model.flow.top.class_gaussian.weight.add_(torch.arange(3.0)[:, None])  # type: ignore[union-attr]
    in_turn = model.sample(4).array
    assert np.array_equal(model.sample(4, y=[0, 1, 2, 0]).array, in_turn)
    assert np.array_equal(model.sample(4, y=1).array[1], in_turn[1])
    assert not np.array_equal(model.sample(4, y=1).array[0], in_turn[0])


def test_classes_are_given_as_arrays_too() -> None:
    model = image_model(**CONDITIONED)
    with torch.no_grad():
        model.flow.top.class_gaussian.weight.add_(torch.arange(3.0)[:, None])  # type: ignore[union-attr]
    each, one = model.sample(2, y=[2, 1]).array, model.sample(2, y=2).array
    for y in (np.array([2, 1]), torch.tensor([2, 1])):
        assert np.array_equal(model.sample(2, y=y).array, each)
    for label in (np.int64(2), torch.tensor(2)):
        assert np.array_equal(model.sample(2, y=label).array, one)


def test_range_of_named_classes_is_refused() -> None:
    model = image_model(**CONDITIONED)
    named = model.record.train_table.model_copy(update={"class_names": ["1", "2", "3"]})
    record = model.record.model_copy(update={"train_table": named})
    model = replace(model, trained=replace(model.trained, record=record))
    assert len(model.sample(2, y="3")) == 2
    with pytest.raises(GlowPipelineError, match=r"^y=1-2: 2 classes; give one"):
        model.sample(2, y="1-2")


def test_broken_samples_are_marked_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    model = image_model()
    drawn = model.sample(3, temperature=1e38)
    assert drawn.broken.all()
    assert not drawn.array.any()
    assert "3 of 3 images are not finite" in caplog.text


def test_every_number_of_bits_survives_a_sample() -> None:
    for n_bits in range(1, 9):
        dequantization = jittered_glow(n_bits=n_bits).dequantization
        levels = torch.arange(2**n_bits, dtype=torch.uint8)
        assert torch.equal(dequantization.reduce(dequantization.expand(levels)), levels)


def test_bits_per_dim_equal_the_judges_nll() -> None:
    judge = nll_judge()
    images = random_images(9)
    model = ImageModel(judge.model, judge.device, Path("absent"))
    (judged,) = judge.judged([images // 16])
    assert np.array_equal(model.bits_per_dim(images), judged.scores[NLL])
    assert model.bits_per_dim(images).dtype == np.float64


def test_order_and_batch_change_no_bits_per_dim(model: ImageModel) -> None:
    images = random_images(70).numpy()
    values = model.bits_per_dim(images)
    np.testing.assert_allclose(model.bits_per_dim(images[::-1]), values[::-1], rtol=1e-6)
    np.testing.assert_allclose([model.bits_per_dim(image)[0] for image in images[:3, 0]], values[:3], rtol=1e-6)
    assert not np.allclose(model.bits_per_dim(images, seed=1), values)


def test_all_forms_of_images_have_equal_bits(model: ImageModel, tmp_path: Path) -> None:
    grey = random_images(6, size=(9, 12))[:, 0].numpy()
    pictures = [Image.fromarray(image) for image in grey]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    files = sorted(tmp_path.iterdir())
    values = model.bits_per_dim(grey)
    for images in (torch.from_numpy(grey), list(grey), pictures, tuple(pictures), files, tmp_path, f"{tmp_path}/*.png"):
        np.testing.assert_allclose(model.bits_per_dim(images), values, rtol=1e-6)
    for one in (grey[2], pictures[2], files[2], str(files[2])):
        np.testing.assert_allclose(model.bits_per_dim(one), values[2:3], rtol=1e-6)


def test_images_of_several_sizes_are_prepared(model: ImageModel, caplog: pytest.LogCaptureFixture) -> None:
    arrays = [random_images(1, size=size)[0, 0].numpy() for size in ((9, 12), (8, 8), (20, 4))]
    with caplog.at_level(logging.INFO):
        values = model.bits_per_dim(arrays)
    np.testing.assert_allclose(values, [model.bits_per_dim(array)[0] for array in arrays], rtol=1e-6)
    assert "Images of shape (1, 9, 12) are prepared as files are: 1x8x8_4bit_resize" in caplog.messages
    assert "(1, 8, 8)" not in caplog.text


def test_unreadable_file_has_no_value_and_is_named(
    model: ImageModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(random_images(1)[0, 0].numpy()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    values = model.bits_per_dim(tmp_path)
    assert np.isnan(values).tolist() == [False, True]
    assert "Files without a value: b.png (not an image, or of an unknown kind)" in caplog.messages
    with pytest.raises(GlowPipelineError, match=r"^images: b\.png \(not an image.*\); leave it out$"):
        model.encode(tmp_path)


def test_overflow_is_infinite() -> None:
    model = image_model()
    with torch.no_grad():
        for parameter in model.flow.parameters():
            parameter.mul_(1e20)
    assert np.isinf(model.bits_per_dim(random_images(2))).all()


def test_encode_and_decode_are_inverse(model: ImageModel) -> None:
    drawn = model.sample(6)
    latents = model.encode(drawn)
    assert [tuple(latent.shape[1:]) for latent in latents] == model.flow.latent_shapes
    assert np.array_equal(model.decode(latents).array, drawn.array)
    assert np.array_equal(model.decode([latent.numpy() for latent in latents]).array, drawn.array)


def test_conditioned_model_encodes_given_classes() -> None:
    model = image_model(**CONDITIONED)
    images = model.sample(4, y=2)
    assert np.array_equal(model.decode(model.encode(images, y=2), y=2).array, images.array)
    with pytest.raises(GlowPipelineError, match=r"^y=None: this model is conditioned on classes; give"):
        model.encode(images)


def test_model_is_shown_in_a_line(model: ImageModel) -> None:
    assert repr(model) == "ImageModel(tiny, 1x8x8_4bit_resize, 1.250 bits/dim on validation images, cpu)"
    assert "1.250 bits/dim on validation images given their class" in repr(image_model(**CONDITIONED))


def test_bad_arguments_are_refused_in_one_line(model: ImageModel) -> None:
    conditioned = image_model(**CONDITIONED)
    for call, expected in (
        (lambda: model.sample(0), r"^n=0: give a whole number, 1 or more$"),
        (lambda: model.sample(2.5), r"^n=2.5: give a whole number"),  # type: ignore[arg-type]
        (lambda: conditioned.sample(2, y=[True, 1]), r"^y=True: a bool is no class; give its number or its name$"),
        (lambda: model.sample(1, temperature=-1), r"^temperature=-1: give 0 or more$"),
        (lambda: model.sample(1, temperature=float("nan")), r"^temperature=nan: give 0 or more$"),
        (lambda: model.sample(2, y=1), r"^y=1: this model has no classes; leave it out"),
        (lambda: conditioned.sample(2, y=3), r"^y=3: no such class; the model has 0 to 2$"),
        (lambda: conditioned.sample(2, y="cat"), r"^y=cat: no such class"),
        (lambda: conditioned.sample(2, y=[0]), r"^y: 1 classes for 2 images; give one"),
        (lambda: model.decode([]), r"^latents: shapes \[\]; give one tensor \(n, \*shape\) for each of"),
        (lambda: model.decode(model.encode(random_images(2))[::-1]), r"^latents: shapes"),
        (lambda: model.bits_per_dim(random_images(2).float()), r"^images: an array of float32; expected uint8"),
        (lambda: model.bits_per_dim([]), r"^images: an empty list; give"),
    ):
        with pytest.raises(GlowPipelineError, match=expected) as refused:
            call()
        assert "\n" not in str(refused.value)
