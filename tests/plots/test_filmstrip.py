import itertools

import pytest
import torch

from glow_pipeline.plots.filmstrip import ROWS, evenly_spread, filmstrip
from tests.conftest import random_images
from tests.plots.test_grids import pictures, shown


def test_rows_are_epochs_in_their_order() -> None:
    images = {epoch: random_images(3, 3, seed=epoch) for epoch in (20, 5, 10)}
    figure = filmstrip(images, "a title")
    assert [text.get_text() for text in figure.texts] == ["epoch 5", "epoch 10", "epoch 20", "a title"]
    first = torch.from_numpy(shown(pictures(figure)[3]).copy()).permute(2, 0, 1)
    assert torch.equal(first, images[10][0])


def test_training_without_samples_has_a_figure() -> None:
    figure = filmstrip({}, "Glow on digits")
    assert "no samples were kept" in figure.axes[0].texts[0].get_text()


@pytest.mark.parametrize("n", [1, 2, ROWS, ROWS + 1, 100])
def test_shown_epochs_are_evenly_spread(n: int) -> None:
    spread = evenly_spread(range(n), ROWS)
    assert len(spread) == min(n, ROWS)
    assert (spread[0], spread[-1]) == (0, n - 1)
    steps = [b - a for a, b in itertools.pairwise(spread)]
    assert all(step >= 1 for step in steps)
    assert not steps or max(steps) - min(steps) <= 1
