"""Rows of the matrix, against slow computations, and the matrix over several models."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from glow_pipeline.outliers.benchmark.pairs import Pair, matrix, names_of, with_seeds

RANDOM = np.random.default_rng(0)
IN, OUT = RANDOM.normal(size=40), RANDOM.normal(1, size=30)


def auroc(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """Compare each outlier with each in-distribution image; a tie counts half."""
    return float(np.mean([(out > one) + 0.5 * (out == one) for out in outside for one in inside]))


def pair(**values: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Pair:
    inside, outside = ({name: both[side] for name, both in values.items()} for side in (0, 1))
    return Pair("digits", "mnist", "far", inside, outside)


def test_row_has_metrics_sizes_and_intervals() -> None:
    (row,) = pair(nll=(IN, OUT)).rows(200, seed=0)
    assert (row["n_in"], row["n_out"], row["score"], row["kind"]) == (40, 30, "nll", "far")
    assert row["auroc"] == pytest.approx(auroc(IN, OUT))
    assert float(str(row["auroc_low"])) < auroc(IN, OUT) < float(str(row["auroc_high"]))
    assert {"fpr_at_95_tpr_low", "aupr_in_high", "detection_error"} <= row.keys()
    assert "auroc_minus_complexity" not in row


def test_difference_to_complexity_is_paired() -> None:
    shifted, control = pair(dose=(IN, OUT), complexity=(IN, OUT - 0.5)).rows(200, seed=0)
    difference = auroc(IN, OUT) - auroc(IN, OUT - 0.5)
    assert shifted["auroc_minus_complexity"] == pytest.approx(difference)
    low, high = (float(str(shifted[f"auroc_minus_complexity_{end}"])) for end in ("low", "high"))
    assert 0 < low < difference < high
    alone = float(str(shifted["auroc_high"])) - float(str(shifted["auroc_low"]))
    assert high - low < 0.7 * alone, "the same images vary together"
    assert "auroc_minus_complexity" not in control


def test_references_are_nll_and_complexity() -> None:
    rows = pair(dose=(IN, OUT), nll=(IN, -OUT), complexity=(IN, OUT - 2)).rows(0, seed=0)
    found = [sorted(key for key in row if key.startswith("auroc_minus")) for row in rows]
    assert found == [["auroc_minus_complexity", "auroc_minus_nll"], ["auroc_minus_complexity"], ["auroc_minus_nll"]]


def test_unpaired_values_have_no_difference() -> None:
    values = {"dose": np.sort(IN), "complexity": np.sort(IN)}
    rows = Pair("digits", "calibration", "control", values, values, is_paired=False).rows(10, seed=0)
    assert [row["auroc"] for row in rows] == [0.5, 0.5]
    assert all("auroc_minus_complexity" not in row for row in rows)


def test_scores_missing_on_one_side_are_left_out() -> None:
    rows = Pair("digits", "calibration", "control", {"dose": IN, "nll": IN}, {"nll": OUT}).rows(0, seed=0)
    assert [row["score"] for row in rows] == ["nll"]
    assert rows[0]["n_out"] == 30
    assert "auroc_low" not in rows[0]


def test_values_that_are_not_finite_are_counted() -> None:
    (row,) = pair(nll=(np.array([0.0, 1.0]), np.array([np.inf, np.inf, 0.5]))).rows(0, seed=0)
    assert row["auroc"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert (row["n_not_finite_in"], row["n_not_finite_out"]) == (0, 2)


def table_of(*models: dict[tuple[str, str], float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"in_dataset": "digits", "out_dataset": out, "kind": "far", "score": score, "model": model, "auroc": value}
        for model, values in enumerate(models)
        for (out, score), value in values.items()
    )


def test_mean_and_deviation_are_over_models() -> None:
    table = with_seeds(
        table_of({("mnist", "dose"): 0.9, ("mnist", "nll"): 0.2}, {("mnist", "dose"): 0.8, ("mnist", "nll"): 0.2})
    )
    assert table["n_seeds"].tolist() == [2] * 4
    assert table["auroc_mean"].tolist() == pytest.approx([0.85, 0.2, 0.85, 0.2])
    assert table["auroc_sd"].tolist() == pytest.approx([np.std([0.9, 0.8], ddof=1), 0.0] * 2)
    alone = with_seeds(table_of({("mnist", "dose"): 0.9}))
    assert alone["auroc_sd"].isna().all()


def test_matrix_keeps_order_and_leaves_gaps() -> None:
    values = {("mnist", "z"): 0.1, ("mnist", "a"): 0.2, ("blur", "z"): 0.3}
    wide = matrix(with_seeds(table_of(values, values)))
    assert wide.columns.tolist() == ["z", "a"]
    assert wide.index.get_level_values("out_dataset").tolist() == ["mnist", "blur"]
    assert np.allclose(wide.to_numpy(), [[0.1, 0.2], [0.3, np.nan]], equal_nan=True)


def test_names_say_the_inside_where_it_is_another() -> None:
    table = with_seeds(table_of({("mnist", "nll"): 0.5, ("blur", "nll"): 0.5}))
    table.loc[1, "in_dataset"] = "mnist"
    assert names_of(matrix(table), "digits") == ["mnist", "mnist vs blur"]
