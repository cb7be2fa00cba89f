"""The history of batches: what its figures are and which images count."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.verdict.batch import ScoredBatch
from glow_pipeline.verdict.history import history_table, lines_of_history, metrics_of_batches
from tests.verdict.batches import scored_batch

RATE = 0.01


@pytest.fixture(scope="module")
def calibration() -> Numbers:
    return np.sort(np.random.default_rng(0).standard_normal(999))


def like_calibration(number: int, n: int = 200, shift: float = 0.0) -> ScoredBatch:
    return scored_batch(number, np.random.default_rng([7, number]).standard_normal(n) + shift)


def table_of(batches: Sequence[ScoredBatch], calibration: Numbers) -> pd.DataFrame:
    return history_table(batches, calibration, 0, RATE)


def test_drift_is_found_where_it_begins(calibration: Numbers) -> None:
    table = table_of(
        [like_calibration(number, shift=0.0 if number < 6 else 1.0) for number in range(1, 9)], calibration
    )
    assert table["drift"].tolist() == [False] * 5 + [True] * 3
    assert table["log10_martingale_highest"].is_monotonic_increasing
    assert (table["log10_martingale_highest"] >= table["log10_martingale"]).all()
    assert table["mean_p_value"][:5].between(0.4, 0.6).all()
    assert (table["mean_p_value"][5:] < 0.4).all()
    (line,) = lines_of_history(table)
    assert "drift: yes, since batch 6" in line
    assert "alarm at 100)" in line


def test_earlier_rows_stay_when_batches_are_added(calibration: Numbers) -> None:
    batches = [like_calibration(number) for number in range(1, 5)]
    pd.testing.assert_frame_equal(table_of(batches, calibration)[:3], table_of(batches[:3], calibration))


def test_share_has_its_intervals(calibration: Numbers) -> None:
    (row,) = table_of([scored_batch(1, np.zeros(200), n_flagged=14)], calibration).to_dict("records")
    interval = stats.binomtest(14, 200).proportion_ci(0.95, "exact")
    assert row["share_flagged"] == 0.07
    assert (row["share_flagged_low"], row["share_flagged_high"]) == pytest.approx((interval.low, interval.high))
    expected = stats.betabinom(200, 50, 950)  # 5% of the 1,000 possible p-values
    assert (row["expected_low"], row["expected_high"]) == (expected.ppf(0.025) / 200, expected.ppf(0.975) / 200)


def test_same_list_again_changes_nothing(calibration: Numbers) -> None:
    first = like_calibration(1)
    again = scored_batch(2, first.scores, first.content_hashes)
    table = table_of([first, again], calibration)
    assert table["n_copies"].tolist() == [0, 200]
    assert table["log10_martingale"].nunique() == 1
    _, line = lines_of_history(table)
    assert line.startswith("200 of these 200 images do not count for drift: copies of images that")
    assert line.endswith("made with (0), and of earlier images (200)")


def test_copies_within_a_batch_count_once(calibration: Numbers) -> None:
    one = like_calibration(1, 50)
    twice = scored_batch(1, np.tile(one.scores, 2), np.tile(one.content_hashes, 2))
    table = table_of([twice], calibration)
    assert table["n_copies"].tolist() == [50]
    assert table["log10_martingale"].tolist() == table_of([one], calibration)["log10_martingale"].tolist()


def test_order_within_a_batch_does_not_count(calibration: Numbers) -> None:
    """A folder sorted by its contents is no change: each batch has a random order, fixed by the contents."""
    batch = like_calibration(1, 400)
    by_score = np.argsort(batch.scores)
    ordered = scored_batch(1, batch.scores[by_score], batch.content_hashes[by_score])
    table = table_of([ordered], calibration)
    pd.testing.assert_frame_equal(table, table_of([batch], calibration))
    assert not table["drift"].any()


def test_unreadable_batch_is_a_row(calibration: Numbers) -> None:
    table = table_of(
        [like_calibration(1), scored_batch(2, np.zeros(0), n_unreadable=3, folder_p_value=None)], calibration
    )
    assert table["log10_martingale"].nunique() == 1
    assert math.isnan(table["share_flagged"][1])
    (line,) = lines_of_history(table)
    assert line.startswith("batch 2: no image scored; drift: no (martingale ")
    number, _, figures = list(metrics_of_batches(table))[1]
    assert number == 2
    assert all(map(math.isfinite, figures.values()))


def test_history_of_only_unreadable_files_has_no_drift(calibration: Numbers) -> None:
    table = table_of([scored_batch(1, np.zeros(0), n_unreadable=3)], calibration)
    assert table["log10_martingale"].tolist() == [0]
    assert table["drift"].tolist() == [False]


def test_nan_score_counts_as_the_highest(calibration: Numbers) -> None:
    odd = like_calibration(1, 30)
    replaced = [np.where(np.arange(30) < 10, value, odd.scores) for value in (np.nan, np.inf)]
    tables = [table_of([scored_batch(1, scores, odd.content_hashes)], calibration) for scores in replaced]
    not_a_number, infinite = tables
    pd.testing.assert_frame_equal(not_a_number, infinite)
    assert infinite["drift"].all()


def test_metrics_have_batch_and_date(calibration: Numbers) -> None:
    batches = [like_calibration(number) for number in (1, 2)]
    rows = list(metrics_of_batches(table_of(batches, calibration)))
    assert [number for number, _, _ in rows] == [1, 2]
    assert [date for _, date, _ in rows] == [pd.Timestamp(batch.record.date) for batch in batches]
    assert set(rows[0][2]) >= {"share_flagged", "log10_martingale", "folder_p_value"}


def test_false_alarms_of_histories_are_rare() -> None:
    """200 histories of three batches, each with calibration images of its own."""
    random = np.random.default_rng(9)
    alarms = 0
    for history in range(200):
        batches = [
            scored_batch(number, random.standard_normal(40), random.integers(-(2**63), 2**63 - 1, 40))
            for number in range(3)
        ]
        table = history_table(batches, np.sort(random.standard_normal(99)), history, 0.1)
        alarms += bool(table["drift"].iloc[-1])
    assert 1 <= alarms <= 20 + 2 * math.sqrt(200 * 0.1 * 0.9)
