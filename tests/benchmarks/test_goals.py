"""The goals of bits per dimension, and the extrapolation of a training's curve."""

import pytest
from results.goals import GOALS, blocks, fit
from results.rows import Row


def row(reached: float, limit: float, epochs: int = 20) -> Row:
    """Return a row whose curve is `limit + 2 / epoch ** 0.5`, with 60 seconds an epoch."""
    curve = [[epoch, epoch * 100, epoch * 60.0, limit + 2 / epoch**0.5] for epoch in range(1, epochs + 1)]
    return {"test_bits_per_dim": reached, "curve": curve, "shape": [1, 28, 28], "n_bits": 8}


def test_fit_finds_the_numbers_of_its_curve() -> None:
    epochs = list(range(1, 31))
    assert fit(epochs, [9.0, 9.0, *(2.5 + 1.2 / epoch**0.7 for epoch in epochs[2:])]) == pytest.approx(
        (2.5, 1.2, 0.7), rel=1e-3
    )


def test_few_epochs_are_not_fitted() -> None:
    assert fit([1, 2, 3, 4], [4.0, 3.0, 2.5, 2.4]) is None


def test_goal_within_reach_has_epochs_and_hours() -> None:
    goal, _ = GOALS["fashionmnist"]
    text = blocks({"fashionmnist": row(3.0, goal - 0.1)})["goals"]
    assert "| `fashionmnist` | 2.90 | 3.000 | 2.80 + 2.00 / epoch^0.50 | 400: 7 h |" in text


def test_goal_below_the_limit_is_never_reached() -> None:
    text = blocks({"fashionmnist": row(3.4, 3.1)})["goals"]
    assert "it never gets there" in text
    assert "| `cifar10` | 3.45 | not trained yet |  |  |" in text


def test_met_goal_is_said() -> None:
    assert "2.890, met" in blocks({"fashionmnist": row(2.89, 2.0)})["goals"]


def test_other_image_size_has_no_goal() -> None:
    padded = {**row(2.4, 2.0), "shape": [1, 32, 32]}
    assert "| `fashionmnist` | 2.90 | trained with other images |" in blocks({"fashionmnist": padded})["goals"]


def test_far_goal_is_never_reached() -> None:
    goal, _ = GOALS["fashionmnist"]
    assert "it never gets there" in blocks({"fashionmnist": row(3.4, goal - 0.001)})["goals"]


def test_validation_at_the_goal_is_said() -> None:
    goal, _ = GOALS["fashionmnist"]
    assert "validation images are there already" in blocks({"fashionmnist": row(2.95, goal - 0.6)})["goals"]
