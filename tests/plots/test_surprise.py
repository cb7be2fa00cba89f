import numpy as np
import pytest
from numpy.typing import NDArray

from glow_pipeline.plots.surprise import surprise_legend, surprise_pixels

WHITE = np.full((1, 1, 7), 255, dtype=np.uint8)


def colours(*brightness: float) -> NDArray[np.int64]:
    return surprise_pixels(np.array([brightness]), WHITE[:, :, : len(brightness)])[:, 0].T.astype(int)


def test_pixels_without_brightness_are_the_image_darkened() -> None:
    image = np.array([[[0, 200]], [[0, 100]], [[0, 0]]], dtype=np.uint8)
    shown = surprise_pixels(np.zeros((1, 2)), image)
    assert np.array_equal(shown[:, 0], [[0, 20], [0, 20], [0, 20]])  # a fifth of the mean, 100


def test_bright_pixels_are_lighter_than_any_dark_one() -> None:
    dark, *bright = colours(0, 1e-6, 0.2, 0.4, 0.6, 0.8, 1)
    lightness = [colour @ [0.2126, 0.7152, 0.0722] for colour in bright]
    assert (dark == 51).all()  # of white
    assert min(lightness) > 51
    assert sorted(lightness) == lightness


def test_colours_do_not_depend_on_other_pixels() -> None:
    assert np.array_equal(colours(0.4, 0, 0)[0], colours(0.4, 1, 0.9)[0])


@pytest.mark.parametrize("brightness", [0.01, 0.4, 1])
def test_legend_has_the_colours_of_the_map(brightness: float) -> None:
    legend = surprise_legend()
    column = round(brightness * (legend.shape[2] - 1))
    assert np.abs(legend[:, 0, column].astype(int) - colours(brightness)[0]).max() <= 4
