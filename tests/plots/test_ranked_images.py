from itertools import pairwise

import numpy as np
import pytest
import torch

from glow_pipeline.plots.ranked_images import RankedRow, ranked_images


@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_headings_and_captions(channels: int) -> None:
    images = torch.arange(3 * channels * 8).reshape(3, channels, 2, 4).to(torch.uint8)
    rows = [
        RankedRow("first", list(images[:2]), [["a", "nll 1"], ["b", "nll 2"]]),
        RankedRow("second", [images[2]], [["c"]]),
    ]
    figure = ranked_images(rows, "digits vs $textures$")
    assert [text.get_text() for text in figure.texts] == ["digits vs $textures$", "first", "second"]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["a\nnll 1", "b\nnll 2", "c"]
    for axes, image in zip(figure.axes, images, strict=True):
        shown = np.asarray(axes.images[0].get_array())
        assert np.array_equal(shown, image.expand(3, -1, -1).permute(1, 2, 0).numpy())


def test_every_text_and_image_is_inside() -> None:
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    name = "a_very_long_name_of_a_file_that_goes_on_and_on.png"
    row = RankedRow(" ".join([name] * 9), [image] * 8, [[name, "nll 10,000"]] * 8)
    figure = ranked_images([row] * 4, " ".join([name] * 12))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [box for axes in figure.axes for box in (axes.get_window_extent(), axes.texts[0].get_window_extent())]
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1
    captions = [axes.texts[0].get_window_extent() for axes in figure.axes[:8]]
    for line in (captions[:4], captions[4:]):
        assert all(a.x1 <= b.x0 for a, b in pairwise(line))
    assert captions[0].y0 > captions[4].y1
