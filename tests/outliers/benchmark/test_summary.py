"""The summary of a benchmark, of tables whose answers are known."""

from typing import Any

import pandas as pd
import pytest

from glow_pipeline.outliers.benchmark.pairs import with_seeds
from glow_pipeline.outliers.benchmark.summary import lines_of_benchmark, summary


def summary_of(*rows: tuple[str, str, dict[str, float]], **columns: dict[str, float]) -> dict[str, Any]:
    """Summarise pairs of (outliers, kind, AUROC by score); columns add values of the main score by outliers."""
    table = pd.DataFrame(
        {"in_dataset": "digits", "out_dataset": out, "kind": kind, "score": score, "auroc": auroc}
        for out, kind, aurocs in rows
        for score, auroc in aurocs.items()
    )
    for name, values in columns.items():
        table[name] = [
            values.get(out) if score == "dose" else None
            for out, score in zip(table["out_dataset"], table["score"], strict=True)
        ]
    return summary(with_seeds(table), "dose", "digits")


def test_means_are_of_near_and_far_apart() -> None:
    found = summary_of(
        ("blur", "near", {"dose": 0.6, "nll": 0.4}),
        ("mirrored", "near", {"dose": 0.8, "nll": 0.2}),
        ("mnist", "far", {"dose": 0.9, "nll": 0.1}),
        ("noise", "control", {"dose": 1.0, "nll": 1.0}),
    )
    assert found["near_mean_auroc"] == pytest.approx(0.7)
    assert found["near_mean_auroc.nll"] == pytest.approx(0.3)
    assert (found["far_mean_auroc"], found["far_mean_auroc.nll"]) == (0.9, 0.1)
    assert found["n_pairs"] == 4


def test_failures_are_weak_where_another_is_strong() -> None:
    found = summary_of(
        ("weak", "far", {"dose": 0.84, "nll": 0.96, "norm": 0.97}),
        ("close", "far", {"dose": 0.86, "nll": 0.96, "norm": 0.5}),
        ("hard", "far", {"dose": 0.5, "nll": 0.94, "norm": 0.5}),
        ("noise", "control", {"dose": 0.1, "nll": 1.0, "norm": 0.5}),
    )
    assert found["failures"] == [{"pair": "weak", "auroc": 0.84, "best": "norm", "best_auroc": 0.97}]
    assert found["closest"] == [{"pair": "close", "auroc": 0.86, "best": "nll", "best_auroc": 0.96}]
    assert "weak: AUROC 0.840 of dose, 0.970 of norm" in lines_of_benchmark(found)


def test_pair_without_the_main_score_is_no_rival() -> None:
    found = summary_of(("mnist", "far", {"dose": 0.9, "nll": 0.5}), ("other", "far", {"nll": 0.99}))
    assert found["failures"] == found["closest"] == []
    assert found["far_mean_auroc"] == 0.9


def test_model_adds_nothing_where_the_interval_has_zero() -> None:
    aurocs = {"dose": 0.9, "complexity": 0.8}
    found = summary_of(
        ("mnist", "far", aurocs),
        ("svhn", "far", aurocs),
        auroc_minus_complexity={"mnist": 0.1, "svhn": 0.1},
        auroc_minus_complexity_low={"mnist": -0.01, "svhn": 0.02},
    )
    assert found["complexity_as_good"] == ["mnist"]
    assert any(
        "adds nothing over a file's size" in line and line.endswith("mnist.") for line in lines_of_benchmark(found)
    )


def test_without_intervals_the_difference_itself_counts() -> None:
    found = summary_of(
        ("mnist", "far", {"dose": 0.9, "complexity": 0.8}),
        ("svhn", "far", {"dose": 0.7, "complexity": 0.8}),
        auroc_minus_complexity={"mnist": 0.1, "svhn": -0.1},
    )
    assert found["complexity_as_good"] == ["svhn"]


@pytest.mark.parametrize(("low", "high", "covers"), [(0.45, 0.52, True), (0.51, 0.6, False), (0.3, 0.49, False)])
def test_calibration_interval_should_cover_half(low: float, high: float, covers: bool) -> None:
    found = summary_of(
        ("calibration", "control", {"dose": 0.5, "nll": 0.5}),
        auroc_low={"calibration": low},
        auroc_high={"calibration": high},
    )
    assert found["calibration_covers_half"] is covers
    assert any("calibration images differ" in line for line in lines_of_benchmark(found)) is not covers


def test_unmeasured_calibration_is_no_finding() -> None:
    found = summary_of(("mnist", "far", {"dose": 0.9, "nll": 0.5}))
    assert found["calibration_covers_half"] is None
    assert found["complexity_as_good"] == []
    assert lines_of_benchmark(found) == ["0.9000               mean AUROC of dose over the far pairs"]
    assert lines_of_benchmark({"auroc": 0.5}) == []
