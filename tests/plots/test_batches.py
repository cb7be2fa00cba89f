import math
from datetime import UTC, datetime, timedelta

import pytest
from matplotlib.figure import Figure

from glow_pipeline.plots.batches import MOST_LABELS, BatchPoint, batches_figure

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def points(n: int, apart: timedelta = timedelta(days=1), log10: float = 0.5) -> list[BatchPoint]:
    return [
        BatchPoint(i + 1, NOON + i * apart, 0.02, 0.01, 0.04, 0.0, 0.03, 0.01, log10 * i, log10 * i) for i in range(n)
    ]


def labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[1].get_xticklabels()]


def legend(figure: Figure, axes: int) -> set[str]:
    return {text.get_text() for text in figure.axes[axes].get_legend().get_texts()}  # type: ignore[union-attr]


@pytest.mark.parametrize("n", [1, 2, 50])
def test_any_number_of_batches_is_labelled(n: int) -> None:
    figure = batches_figure(points(n), 0.01, "a title")
    assert 1 <= len(labels(figure)) <= MOST_LABELS
    assert labels(figure)[0] == "1\n2026-11-02"
    assert figure.axes[0].get_title() == "a title"


def test_batches_of_one_day_have_times() -> None:
    figure = batches_figure(points(3, timedelta(hours=1)), 0.01, "")
    assert labels(figure) == ["1\n12:00", "2\n13:00", "3\n14:00"]
    assert figure.axes[1].get_xlabel() == "batch (2026-11-02)"


def test_drift_is_marked_with_its_batch() -> None:
    assert "drift since batch 5" in legend(batches_figure(points(7), 0.01, ""), 1)
    assert {"martingale", "highest so far", "alarm at 100"} == legend(batches_figure(points(3), 0.01, ""), 1)


def test_shares_have_intervals_and_rate() -> None:
    figure = batches_figure(points(3), 0.01, "")
    assert legend(figure, 0) == {
        "expected without a change",
        "false-alarm rate",
        "flagged, with 95% interval",
    }


def test_batch_without_images_is_a_gap() -> None:
    gap = points(3)[1]._replace(share=math.nan, expected_low=math.nan, expected_high=math.nan)
    figure = batches_figure([points(3)[0], gap, points(3)[2]], 0.01, "")
    figure.draw_without_rendering()
    assert figure.axes[0].get_ylim()[0] == 0


def test_astronomical_martingale_is_drawn() -> None:
    batches_figure(points(4, log10=500), 0.01, "").draw_without_rendering()
