import numpy as np
import pytest
from numpy.typing import NDArray

from glow_pipeline.images import content_sets
from glow_pipeline.images.split_by_content import draw_by_content


def hashes(count: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, count)


@pytest.mark.parametrize("percentage", [0.5, 10.0, 50.0, 99.0])
def test_about_the_percentage_is_drawn(percentage: float) -> None:
    drawn = draw_by_content(hashes(20_000), percentage, 0, "test")
    assert drawn.mean() * 100 == pytest.approx(percentage, abs=1.4)


def test_each_image_is_drawn_by_itself() -> None:
    every = hashes(1000)
    drawn = draw_by_content(every, 20, 3, "test")
    order = np.random.default_rng(1).permutation(1000)[:500]
    assert np.array_equal(draw_by_content(every[order], 20, 3, "test"), drawn[order])


def test_drawn_images_are_the_recorded_ones() -> None:
    """Models were trained by it: with another draw their training images would become test images."""
    drawn = draw_by_content(np.arange(64), 25, 0, "evaluation split")
    assert np.flatnonzero(drawn).tolist() == [
        4, 6, 12, 15, 21, 22, 23, 25, 27, 30, 31, 38, 41, 43, 44, 50, 51, 55, 57, 58, 59, 60,
    ]  # fmt: skip


def test_seed_and_purpose_draw_others() -> None:
    every = hashes(1000)
    masks = [draw_by_content(every, 50, seed, purpose) for seed, purpose in ((0, "a"), (1, "a"), (0, "b"))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (masks[one] == masks[other]).mean() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("percentage", [1e-9, 100 - 1e-9, 100.0])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_both_parts_have_images(count: int, percentage: float) -> None:
    drawn = draw_by_content(hashes(count), percentage, 0, "test")
    assert drawn.sum() == (1 if percentage < 1 else count - 1)


@pytest.mark.parametrize("percentage", [1e-9, 30.0, 100.0])
def test_draw_does_not_depend_on_its_pieces(monkeypatch: pytest.MonkeyPatch, percentage: float) -> None:
    every = hashes(50)
    at_once = draw_by_content(every, percentage, 0, "test")
    monkeypatch.setattr(content_sets, "CHUNK", 7)
    assert np.array_equal(draw_by_content(every, percentage, 0, "test"), at_once)


def test_equal_images_are_drawn_together() -> None:
    every = np.repeat(hashes(50), 3)
    drawn = draw_by_content(every, 30, 0, "test").reshape(50, 3)
    assert (drawn.all(axis=1) | ~drawn.any(axis=1)).all()
    assert not draw_by_content(np.full(4, 7), 50, 0, "test").any()
