import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.grids import RED
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import MODES, LabelledImages, RealImages, SampleRequest
from glow_pipeline.sampling.reconstruct import reconstruct
from tests.conftest import jittered_glow, random_images
from tests.plots.test_grids import pictures, shown

IMAGES = random_images(5, seed=0) >> 4
NOISE = torch.rand(IMAGES.shape, generator=generator(0, "noise"))
X = (IMAGES + NOISE) / 16 - 0.5


class Flawed(Glow):
    """A flow whose inverse adds an error to one pixel of some images."""

    added: dict[int, float]  # image -> error, in grey levels

    def inverse(self, eps: list[Tensor], y: Tensor | None = None) -> Tensor:
        x = super().inverse(eps, y)
        for image, error in self.added.items():
            x[image, 0, 0, 0] += error / 16
        return x


def flawed(added: dict[int, float]) -> Glow:
    model = jittered_glow()
    model.__class__ = Flawed
    model.added = added  # type: ignore[assignment]
    return model


def draw(model: Glow, images: Tensor = IMAGES) -> Figure:
    labels = torch.arange(len(images)) % 3
    real = RealImages(LabelledImages(images, labels))
    request = SampleRequest(model, "digits", [], len(images), 0.7, None, frames=40, seed=0, real=real)
    figure = MODES["reconstruct"].draw(request)
    assert isinstance(figure, Figure)
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.texts]


def frames(figure: Figure) -> int:
    return sum(isinstance(artist, Rectangle) for artist in figure.artists)


def test_images_come_back_within_half_a_level() -> None:
    made = reconstruct(jittered_glow(), IMAGES, NOISE)
    assert not made.decoded.broken.any()
    assert made.largest.max() < 0.01
    assert (made.decoded.images != IMAGES).sum() == made.changed.sum()


def test_conditioned_model_decodes_with_the_class() -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    made = reconstruct(model, IMAGES, NOISE, torch.tensor([0, 1, 2, 0, 1]))
    assert made.largest.max() < 0.01


def test_error_is_measured_before_rounding() -> None:
    model = flawed({1: 0.25, 3: -3.0})
    made = reconstruct(model, IMAGES, NOISE)
    with torch.no_grad():
        inverse = model.inverse(model(X)[0])
    expected = np.abs(inverse.numpy().astype(float) - X.numpy()) * 16
    assert made.errors.numpy() == pytest.approx(expected, abs=1e-4)
    assert made.largest.tolist() == pytest.approx([0, 0.25, 0, 3, 0], abs=0.01)
    assert made.changed[3, 0, 0, 0]


def test_picture_frames_errors_above_half_a_level() -> None:
    figure = draw(flawed({1: 0.25, 3: -3.0, 4: 0.7}))
    assert frames(figure) == 4  # two images, as decoded and as error
    title = texts(figure)[-1]
    assert "Glow on digits (1x8x8, 4 bits): test images, encoded and decoded: 2 of 5 beyond half a grey level" in title
    assert "largest 3 grey levels" in title
    assert "of 320 values have another level" in title
    captions = [float(text) for text in texts(figure) if text[0].isdigit()]
    assert captions[:3] == pytest.approx([3, 0.7, 0.25], abs=0.01)
    assert captions == sorted(captions, reverse=True)
    originals, decoded, errors = (pictures(figure)[i : i + 5] for i in (0, 5, 10))
    order = [3, 4, 1]
    for image, original, copy in zip(order, originals, decoded, strict=False):
        expected = np.rint(IMAGES[image, 0].numpy() * 17.0)
        assert np.array_equal(shown(original)[..., 0], expected)
        assert np.array_equal(shown(copy)[1:, 1:, 0], expected[1:, 1:])
    assert shown(errors[0])[0, 0].min() > 150, "pale yellow"


def test_picture_within_half_a_level_says_so() -> None:
    figure = draw(jittered_glow())
    assert frames(figure) == 0
    assert "all within half a grey level" in texts(figure)[-1]
    assert not any("…" in text for text in texts(figure)), "small errors fit below their images"


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_overflow_is_crossed_out_and_not_counted(value: float) -> None:
    figure = draw(flawed({2: value, 0: 0.25}))
    title = texts(figure)[-1]
    assert "largest 0.25 grey levels" in title
    assert title.endswith("(1 of 5 not finite; crossed out)")
    assert texts(figure).count("not finite") == 1
    for picture in (pictures(figure)[5], pictures(figure)[10]):
        assert (shown(picture)[4, 4] == RED).all()
    assert not (shown(pictures(figure)[0])[4, 4] == RED).all()


def test_largest_errors_are_shown_of_many() -> None:
    many = IMAGES.repeat(6, 1, 1, 1)
    figure = draw(flawed({29: 0.3}), many)
    assert len(pictures(figure)) == 3 * 24
    assert "(the 24 of 30 with the largest errors)" in texts(figure)[-1]
    assert next(text for text in texts(figure) if text[0].isdigit()).startswith("0.3")
