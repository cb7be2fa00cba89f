from typing import Any

import numpy as np
import pytest
import torch

from glow_pipeline.images.content import content_hash
from glow_pipeline.images.examples import draw_examples, first_of_each_class
from glow_pipeline.images.split_images import SplitImages
from tests.images.plans import in_memory


@pytest.mark.parametrize(
    ("labels", "n", "rows"),
    [
        ([0] * 5, 8, [0, 1, 2, 3, 4]),
        ([0] * 20, 3, [0, 1, 2]),
        ([0, 0, 0, 1, 1, 1, 2, 2], 3, [0, 3, 6]),
        ([2, 2, 0, 0, 1, 1], 4, [2, 3, 4, 0]),
        ([7, 7, 7, 7, 3], 4, [4, 0, 1, 2]),
        (list(range(20)), 8, list(range(8))),
        ([5], 8, [0]),
    ],
)
def test_different_classes_come_before_more_of_one(labels: list[int], n: int, rows: list[int]) -> None:
    assert first_of_each_class(np.array(labels), n).tolist() == rows


# Drawn from a source ----------------------------------------------------------------------------


def draw(images: SplitImages, n: int, seed: int = 0, **options: Any) -> tuple[list[int], list[int]]:
    """Return the rows (by their level, of `in_memory`) and the labels of drawn images."""
    drawn, labels = draw_examples(images, n, torch.Generator().manual_seed(seed), **options)
    assert (drawn.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert drawn.shape[1:] == (1, 2, 2)
    return (drawn[:, 0, 0, 0] // 32).tolist(), labels.tolist()


def test_drawn_images_have_labels_and_random_order() -> None:
    plan, calls = in_memory(8, range(8), "stop", n_classes=8)
    rows, labels = draw(plan.images, 5)
    assert rows == labels == torch.randperm(8, generator=torch.Generator().manual_seed(0))[:5].tolist()
    assert sorted(calls) == sorted(rows)  # no other image is read
    assert draw(plan.images, 5) == (rows, labels)
    assert draw(plan.images, 5, seed=1) != (rows, labels)


def test_fewer_images_are_drawn_where_there_are_fewer() -> None:
    rows, _ = draw(in_memory(3, range(3), "stop").plan.images, 10)
    assert sorted(rows) == [0, 1, 2]


def test_seen_images_are_never_drawn() -> None:
    images = in_memory(8, range(8), "stop").plan.images
    (chunk,) = images.prepared(np.array([0, 3, 5]))
    rows, _ = draw(images, 5, seen=content_hash(chunk.images).numpy())
    assert sorted(rows) == [1, 2, 4, 6, 7]


def test_classes_from_a_number_on_are_left_out() -> None:
    rows, labels = draw(in_memory(8, range(8), "stop", n_classes=4).plan.images, 8, num_classes=2)
    assert sorted(rows) == [0, 1, 4, 5]
    assert sorted(labels) == [0, 0, 1, 1]


def test_unreadable_images_are_replaced_by_others() -> None:
    rows, _ = draw(in_memory(8, range(4, 8), "stop").plan.images, 4)
    assert sorted(rows) == [4, 5, 6, 7]
