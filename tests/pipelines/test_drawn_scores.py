"""Figures of a table of scores, from all scores or from histograms."""

import numpy as np
import pandas as pd
import pytest

from glow_pipeline.outliers.score_table import ScoresInMemory, ScoreTable
from glow_pipeline.pipelines.ood.drawn_scores import drawn_score, some_dots
from glow_pipeline.pipelines.ood.nodes import gather_scores
from glow_pipeline.pipelines.ood.stored_scores import Sets, sets_of
from glow_pipeline.plots.histograms import DOTS, limits, score_histograms
from tests.outliers.test_score_table import InPieces, scores

SETS = Sets("digits", "textures", 90_000, 40_000)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    is_out = np.arange(130_000) >= 90_000
    score = random.normal(size=len(is_out)) + is_out
    score[:3] = np.inf, np.nan, 1e30
    source = np.where(is_out, "textures", "digits")
    return pd.DataFrame({"source": source, "score": score, "other": -score, "unreadable": None, "is_out": is_out})


def test_histogram_is_drawn_like_its_scores(rows: pd.DataFrame) -> None:
    exact, histogram = (drawn_score(InPieces(rows, 9999), "score", SETS, most) for most in (130_000, 0))
    assert limits(histogram.by_set) == pytest.approx(limits(exact.by_set), abs=0.01)
    drawn, expected = (score_histograms({"score": each.by_set}, "").axes[0] for each in (histogram, exact))
    heights, wanted = ([[bar.get_height() for bar in bars] for bars in axes.containers] for axes in (drawn, expected))
    assert np.allclose(heights, wanted, atol=0.01)
    notes, same = ([text.get_text() for text in axes.get_legend().get_texts()] for axes in (drawn, expected))  # type: ignore[union-attr]
    assert notes == same == ["digits (90000, 2 not finite)", "textures (40000)"]
    assert all("beyond the ends" in axes.get_xlabel() for axes in (drawn, expected))


def test_histogram_has_the_roc_curve_of_its_scores(rows: pd.DataFrame) -> None:
    exact, histogram = (drawn_score(InPieces(rows, 9999), "score", SETS, most).roc for most in (130_000, 0))
    at = np.linspace(0, 1, 50)
    assert np.allclose(np.interp(at, *histogram), np.interp(at, *exact), atol=1e-3)


@pytest.mark.parametrize("size", [10_000, 40_097, 130_000])
def test_dots_are_evenly_spaced_over_each_set(rows: pd.DataFrame, size: int) -> None:
    dots = some_dots(InPieces(rows, size), "score", "other", SETS)
    for name, step in (("digits", 30), ("textures", 14)):
        own = rows[rows["source"] == name].iloc[::step]
        assert len(own) <= DOTS
        for drawn, column in zip(dots[name], ("score", "other"), strict=True):
            assert np.array_equal(drawn, own[column], equal_nan=True)


def test_sets_are_named_and_counted_in_pieces(rows: pd.DataFrame) -> None:
    assert sets_of(InPieces(rows, 12_345)) == SETS
    assert sets_of(InPieces(rows.assign(source="digits"), 12_345)).outside == "digits (as outliers)"


def test_sets_in_pieces_are_gathered_in_pieces() -> None:
    frames = scores(5), scores(4)
    at_once = gather_scores(*frames)
    assert isinstance(at_once, pd.DataFrame)
    in_pieces = gather_scores(InPieces(frames[0], 2), ScoresInMemory(frames[1]))
    assert isinstance(in_pieces, ScoreTable)
    pd.testing.assert_frame_equal(in_pieces.frame(), at_once)
