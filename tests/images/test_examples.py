import numpy as np
import pytest

from glow_pipeline.images.examples import first_of_each_class


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
