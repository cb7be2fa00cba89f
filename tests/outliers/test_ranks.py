import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glow_pipeline.outliers.ranks import RankedPiece, exact_ranks, images_to_show, most_outlying, rank_function
from tests.outliers.test_score_table import InPieces

SCORES = st.lists(st.integers(-5, 5) | st.sampled_from([math.inf, -math.inf, math.nan]), min_size=1, max_size=40)


def table(scores: list[float], is_out: list[bool] | None = None, size: int = 3) -> InPieces:
    is_out = [i % 3 == 0 for i in range(len(scores))] if is_out is None else is_out
    rows = pd.DataFrame({"score": np.array(scores, dtype=float), "is_out": is_out, "unreadable": None})
    return InPieces(rows, size)


def ranks_by_definition(scores: list[float]) -> list[int]:
    high = np.where(np.isnan(scores), np.inf, scores)
    return [1 + int((high > value).sum()) for value in high]


@pytest.mark.parametrize("most_exact", [100, 0])
@settings(max_examples=30)
@given(SCORES)
def test_rank_counts_the_higher_scores(most_exact: int, scores: list[float]) -> None:
    """A histogram, too, is exact for so few scores."""
    ranks = rank_function(table(scores), "score", most_exact)
    assert ranks(np.array(scores, dtype=float)).tolist() == ranks_by_definition(scores)


@settings(max_examples=30)
@given(SCORES, st.data())
def test_ranks_of_some_are_those_among_all(scores: list[float], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.integers(0, len(scores) - 1)))
    found = exact_ranks(table(scores), "score", np.array(scores, dtype=float)[some])
    assert found.tolist() == [ranks_by_definition(scores)[i] for i in some]


def test_most_outlying_of_each_set_are_listed() -> None:
    listed = most_outlying(table([1.0, 5.0, 3.0, 4.0, 2.0], [False, True, True, True, False], 2), "score", 2)
    assert list(listed.columns) == ["rank", "score", "is_out", "unreadable"]
    assert listed["rank"].tolist() == [1, 2, 4, 5]
    assert listed["score"].tolist() == [5.0, 4.0, 2.0, 1.0]


@settings(max_examples=30)
@given(SCORES, st.integers(1, 9))
def test_most_outlying_equal_the_first_of_all_sorted(scores: list[float], n: int) -> None:
    rows = pd.concat(table(scores).frames(["score", "is_out"])).assign(row=range(len(scores)), unreadable=None)
    rows.insert(0, "rank", ranks_by_definition(scores))
    expected = rows.sort_values("rank", kind="stable").groupby("is_out", sort=False).head(n).reset_index(drop=True)
    pd.testing.assert_frame_equal(most_outlying(InPieces(rows.drop(columns="rank"), 4), "score", n), expected)


def shown(is_out: list[bool], n: int, size: int, **rank: list[int]) -> dict[str, list[int]]:
    pieces = []
    for start in range(0, len(is_out), size):
        some = np.arange(start, min(start + size, len(is_out)))
        own: dict[str, NDArray[np.int64]] = {name: np.array(ranks)[some] for name, ranks in rank.items()}
        pieces.append(RankedPiece(some, np.array(is_out)[some], own))
    return {heading: images.tolist() for heading, images in images_to_show(pieces, n).items()}


@pytest.mark.parametrize("size", [1, 2, 4])
def test_images_to_show_are_errors_and_disagreements(size: int) -> None:
    is_out, main, other = [False, True, False, True], [1, 2, 3, 4], [1, 4, 3, 2]
    assert shown(is_out, 2, size, main=main, nll=other) == {
        "test images that main ranks as most outlying": [0, 2],
        "outliers that main ranks as least outlying": [3, 1],
        "more outlying by main than by nll": [1],
        "more outlying by nll than by main": [3],
    }
    assert len(shown(is_out, 2, size, main=main)) == 2
    assert len(shown(is_out, 2, size, main=main, nll=main)) == 2, "scores that agree"


@pytest.mark.parametrize("size", [2, 5])
def test_largest_disagreements_come_first(size: int) -> None:
    found = shown([False] * 5, 2, size, a=[1, 2, 3, 4, 5], b=[4, 2, 5, 3, 1])
    assert (found["more outlying by a than by b"], found["more outlying by b than by a"]) == ([0, 2], [4, 3])
