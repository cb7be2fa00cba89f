import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.outliers.ranks import disagreements, images_to_show, most_outlying, ranks


@given(st.lists(st.integers(-5, 5) | st.sampled_from([math.inf, -math.inf, math.nan]), min_size=1, max_size=40))
def test_rank_counts_the_higher_scores(values: list[float]) -> None:
    score = np.array(values, dtype=float)
    high = np.where(np.isnan(score), np.inf, score)
    assert ranks(score).tolist() == [1 + int((high > value).sum()) for value in high]


def test_most_outlying_of_each_set_are_listed() -> None:
    scored = pd.DataFrame({"score": [1.0, 5.0, 3.0, 4.0, 2.0], "is_out": [False, True, True, True, False]})
    listed = most_outlying(scored, "score", 2)
    assert list(listed.columns) == ["rank", "score", "is_out"]
    assert listed["rank"].tolist() == [1, 2, 4, 5]
    assert listed["score"].tolist() == [5.0, 4.0, 2.0, 1.0]


def test_largest_disagreements_come_first() -> None:
    first, second = np.array([1, 2, 3, 4, 5]), np.array([4, 2, 5, 3, 1])
    higher, lower = disagreements(first, second, 2)
    assert higher.tolist() == [0, 2]
    assert lower.tolist() == [4, 3]
    assert [images.tolist() for images in disagreements(first, second, 1)] == [[0], [4]]
    assert [images.tolist() for images in disagreements(first, first, 3)] == [[], []]


def test_images_to_show_are_errors_and_disagreements() -> None:
    is_out = np.array([False, True, False, True])
    main, other = np.array([1, 2, 3, 4]), np.array([1, 4, 3, 2])
    shown = images_to_show({"main": main, "nll": other}, is_out, 2)
    assert {heading: images.tolist() for heading, images in shown.items()} == {
        "test images that main ranks as most outlying": [0, 2],
        "outliers that main ranks as least outlying": [3, 1],
        "more outlying by main than by nll": [1],
        "more outlying by nll than by main": [3],
    }
    assert len(images_to_show({"main": main}, is_out, 2)) == 2
    assert len(images_to_show({"main": main, "nll": main}, is_out, 2)) == 2, "scores that agree"
