import itertools
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.plots.grids import cross_out, frame, frame_images, labelled_grid, square_grid
from glow_pipeline.plots.style import LEAST_SHOWN, SHOWN_INCHES
from tests.conftest import random_images


def pictures(figure: Figure) -> list[BboxImage]:
    """The images of a figure, in their order."""
    return [artist for artist in figure.artists if isinstance(artist, BboxImage)]


def shown(picture: BboxImage) -> NDArray[np.uint8]:
    pixels = picture.get_array()
    assert pixels is not None
    return np.asarray(pixels)


def rgb(image: Tensor) -> NDArray[np.uint8]:
    pixels = image.permute(1, 2, 0).numpy()
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n", "n_columns"), [(1, 1), (2, 2), (5, 3), (9, 3), (10, 4)])
def test_square_grid_shows_exact_pixels_in_order(channels: int, n: int, n_columns: int) -> None:
    images = random_images(n, channels, (4, 6))
    figure = square_grid(images)
    for picture, image in zip(pictures(figure), images, strict=True):
        assert np.array_equal(shown(picture), rgb(image))
    places = [picture.get_window_extent() for picture in pictures(figure)]
    for i, place in enumerate(places):
        assert place.x0 == pytest.approx(places[i % n_columns].x0), "in columns"
        assert place.y0 == pytest.approx(places[i - i % n_columns].y0), "in rows"
        assert i % n_columns == 0 or place.x0 > places[i - 1].x1
        assert i < n_columns or place.y1 < places[i - n_columns].y0


@pytest.mark.parametrize("value", [0, 100, 255])
def test_grey_levels_are_drawn_unchanged(value: int) -> None:
    figure = square_grid(random_images(1) * 0 + value)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist() == [value, value, value, 255]


def test_labelled_grid_has_rows_with_names() -> None:
    rows = [random_images(3, 1, (4, 4), seed=0), random_images(1, 1, (4, 4), seed=1)]
    figure = labelled_grid(rows, row_labels=["first", "second"], column_labels=["a", "b", "c"], title="all of them")
    boxes = [picture.get_window_extent() for picture in pictures(figure)]
    assert np.array_equal(shown(pictures(figure)[2]), rgb(rows[0][2]))
    assert np.array_equal(shown(pictures(figure)[3]), rgb(rows[1][0]))
    places = {text.get_text(): text.get_window_extent() for text in figure.texts}
    assert set(places) == {"first", "second", "a", "b", "c", "all of them"}
    for name, box in (("first", boxes[0]), ("second", boxes[3])):
        assert places[name].x1 < box.x0
        assert box.y0 < (places[name].y0 + places[name].y1) / 2 < box.y1
    for name, box in zip("abc", boxes, strict=False):
        assert box.y1 < places[name].y0 < places[name].y1 < places["all of them"].y0
        assert (places[name].x0 + places[name].x1) / 2 == pytest.approx((box.x0 + box.x1) / 2, abs=1)


def test_captions_stand_between_their_image_and_the_next() -> None:
    rows = [random_images(2, 1, (4, 4), seed=seed) for seed in range(2)]
    figure = labelled_grid(rows, captions=[["1.5", "two\nlines"], ["", "2.5"]])
    boxes = [picture.get_window_extent() for picture in pictures(figure)]
    places = {text.get_text(): text.get_window_extent() for text in figure.texts}
    assert set(places) == {"1.5", "two\nlines", "2.5"}
    for name, box in (("1.5", boxes[0]), ("two\nlines", boxes[1]), ("2.5", boxes[3])):
        assert places[name].y1 < box.y0
        assert (places[name].x0 + places[name].x1) / 2 == pytest.approx((box.x0 + box.x1) / 2, abs=1)
    assert boxes[2].y1 < places["two\nlines"].y0
    assert places["2.5"].y0 > 0


def test_columns_after_a_gap_stand_apart() -> None:
    figure = labelled_grid([random_images(4, 1, (4, 4))], column_labels=["a", "b", "c", "d"], gaps=[1, 3])
    boxes = [picture.get_window_extent() for picture in pictures(figure)]
    spaces = [right.x0 - left.x1 for left, right in itertools.pairwise(boxes)]
    assert spaces[0] == pytest.approx(spaces[2])
    assert spaces[0] > 5 * spaces[1] > 0
    assert boxes[-1].x1 < figure.bbox.width
    assert [text.get_window_extent().x0 < box.x1 for text, box in zip(figure.texts, boxes, strict=True)] == [True] * 4


def test_labels_of_several_lines_stay_outside_images() -> None:
    labels = ["level 1\n2x16x16\n50%", "real"]
    figure = labelled_grid([random_images(2, 1, (4, 4))], column_labels=labels, title="title")
    boxes = [picture.get_window_extent() for picture in pictures(figure)]
    places = {text.get_text(): text.get_window_extent() for text in figure.texts}
    assert boxes[0].y1 < places[labels[0]].y0 < places[labels[0]].y1 < places["title"].y0
    assert boxes[1].y1 < places["real"].y0 < places[labels[0]].y1


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 32), (32, 8)])
def test_images_keep_their_aspect_ratio(height: int, width: int) -> None:
    figure = square_grid(random_images(4, 1, (height, width)), "title")
    for picture in pictures(figure):
        box = picture.get_window_extent()
        assert box.width / box.height == pytest.approx(width / height, rel=0.05)


def test_images_neither_overlap_nor_leave_the_figure() -> None:
    figure = labelled_grid([random_images(3)] * 2, row_labels=["a", "b"], column_labels=["x", "y", "z"], title="t")
    boxes = [picture.get_window_extent() for picture in pictures(figure)]
    assert len(boxes) == 6
    width, height = figure.canvas.get_width_height()
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[:i])


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(1, 60))
def test_frame_enlarges_every_pixel_to_a_block(n: int, height: int, width: int, channels: int, shortest: int) -> None:
    images = random_images(n, channels, (height, width))
    pixels = frame(images, shortest)
    columns = math.ceil(math.sqrt(n))
    line = 1  # pixel, around and between images
    small = (math.ceil(n / columns) * (height + line) + line, columns * (width + line) + line)
    factor = max(1, math.ceil(shortest / min(small)))
    assert pixels.shape == (small[0] * factor, small[1] * factor, 3)
    assert pixels.dtype == np.uint8
    assert min(pixels.shape[:2]) >= shortest
    for i, image in enumerate(images):
        top, left = i // columns * (height + line) + line, i % columns * (width + line) + line
        block = pixels[top * factor : (top + height) * factor, left * factor : (left + width) * factor]
        assert np.array_equal(block, np.kron(rgb(image), np.ones((factor, factor, 1), dtype=np.uint8)))


def test_lines_of_a_frame_are_grey() -> None:
    pixels = frame(random_images(4, 1, (2, 2)), 1)
    assert pixels.shape == (7, 7, 3)
    assert (pixels[[0, 3, 6]] == 128).all()
    assert (pixels[:, [0, 3, 6]] == 128).all()


def test_frames_of_a_movie_have_one_shape() -> None:
    assert len({frame(random_images(5, seed=seed)).shape for seed in range(3)}) == 1


def test_crosses_leave_other_images_unchanged() -> None:
    for channels, size in ((1, (8, 8)), (3, (4, 6)), (1, (2, 2)), (1, (64, 32))):
        images = random_images(3, channels, size)
        crossed = cross_out(images, torch.tensor([False, True, False]))
        assert crossed.shape == (3, 3, *size)
        assert crossed.dtype == torch.uint8
        assert torch.equal(crossed[[0, 2]], images[[0, 2]].expand(-1, 3, -1, -1))
        red, green, blue = crossed[1].int()
        assert ((red > green + 100) & (red > blue + 100)).any()


def test_notebooks_show_grids() -> None:
    """IPython shows no figure without axes."""
    assert square_grid(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), "").axes


def test_only_rows_with_captions_have_room_for_them() -> None:
    rows = [random_images(1, 1, (4, 4), seed=seed) for seed in range(4)]
    figure = labelled_grid(rows, captions=[[""], ["below"], [""], [""]])
    tops = [picture.get_window_extent().y1 for picture in pictures(figure)]
    steps = [above - below for above, below in pairwise(tops)]
    assert steps[1] > steps[0] + 5
    assert steps[2] == pytest.approx(steps[0])


def test_frames_are_red_and_around_their_images() -> None:
    figure = labelled_grid([random_images(2, 1, (4, 4)), random_images(2, 1, (4, 4))])
    frame_images(figure, [False, True, True, False])
    frames = [artist for artist in figure.artists if isinstance(artist, Rectangle)]
    places = [picture.get_window_extent() for picture in pictures(figure)]
    for framed, place in zip(frames, places[1:3], strict=True):
        found = Bbox.from_bounds(*framed.get_xy(), framed.get_width(), framed.get_height())
        assert found.transformed(figure.dpi_scale_trans).bounds == pytest.approx(place.bounds)


def test_long_column_labels_are_smaller_rather_than_cut() -> None:
    labels = ["real", *["level 2\n12x16x16\n25%"] * 12]
    figure = labelled_grid([random_images(13)], column_labels=labels)
    assert [text.get_text() for text in figure.texts] == labels


def test_sixteen_columns_are_legible_as_mlflow_shows_them() -> None:
    figure = labelled_grid([random_images(16)], row_labels=["class 10"], title="Glow on digits")
    shown = SHOWN_INCHES / figure.get_figwidth()
    assert min(float(text.get_fontsize()) for text in figure.texts) * shown >= LEAST_SHOWN
