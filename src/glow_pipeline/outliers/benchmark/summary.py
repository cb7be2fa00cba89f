"""The summary of a benchmark: means by kind of pair, the weakest pairs, and where the model adds nothing."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from glow_pipeline.outliers.benchmark.out_sets import CALIBRATION
from glow_pipeline.outliers.benchmark.pairs import matrix, names_of
from glow_pipeline.outliers.metric_names import CONTROL

WEAK, STRONG = 0.85, 0.95  # a pair fails if the main score is below the first and another above the second
CLOSEST = 5  # pairs that are listed
DIFFERENCE = f"auroc_minus_{CONTROL}"
MEAN = "_mean_auroc"


def summary(table: pd.DataFrame, main: str, dataset: str) -> dict[str, Any]:
    """Return the figures of a benchmark that a person looks for first.

    Args:
        table: as `pairs.with_seeds` returns it; the rows of the model of `stored_model` come first.
        main: name of the main score.
        dataset: name of the in-distribution images.

    Returns:
        near_mean_auroc and far_mean_auroc: unweighted means over pairs of the main score, of another one followed by
        its name (`near_mean_auroc.nll`); failures and closest: pairs, with the main score's AUROC and the best other
        score; complexity_as_good: pairs on which the control score's AUROC is not below that of the main one by more
        than the sampling of the test images explains; calibration_covers_half: whether the interval of the
        calibration images against the test images has .5 in it, or None if that was not measured.
    """
    wide = matrix(table)
    kinds = wide.index.get_level_values("kind")
    result: dict[str, Any] = {"benchmark": dataset, "benchmark_score": main, "n_pairs": len(wide)}
    for kind in ("near", "far"):
        for score, mean in wide[kinds == kind].mean().items():
            if math.isfinite(mean):
                result[f"{kind}{MEAN}" + ("" if score == main else f".{score}")] = float(mean)
    rivals = _rivals(wide.assign(pair=names_of(wide, dataset)), main)
    result["failures"] = [rival for rival in rivals if rival["auroc"] < WEAK]
    result["closest"] = [rival for rival in rivals if rival["auroc"] >= WEAK][:CLOSEST]
    result["complexity_as_good"] = _as_good(table, main, dataset)
    result["calibration_covers_half"] = _covers_half(table, main)
    return result


def lines_of_benchmark(metrics: Mapping[str, Any]) -> list[str]:
    """Return the closing lines of a benchmark; none if these are no metrics of one."""
    if "benchmark" not in metrics:
        return []
    main = metrics["benchmark_score"]
    found = [
        f"{metrics[f'{kind}{MEAN}']:<20.4f} mean AUROC of {main} over the {kind} pairs"
        for kind in ("near", "far")
        if f"{kind}{MEAN}" in metrics
    ]
    found += [
        f"{pair['pair']}: AUROC {pair['auroc']:.3f} of {main}, {pair['best_auroc']:.3f} of {pair['best']}"
        for pair in metrics["failures"]
    ]
    if metrics["complexity_as_good"]:
        found.append(
            f"The model adds nothing over a file's size ({CONTROL}): {', '.join(metrics['complexity_as_good'])}."
        )
    if metrics["calibration_covers_half"] is False:
        found.append(
            "The calibration images differ from the test images: the interval of their AUROC leaves out 0.5, so "
            "false-alarm rates of the detector do not hold on these test images."
        )
    return found


def _rivals(wide: pd.DataFrame, main: str) -> list[dict[str, Any]]:
    """Return the pairs on which another score is strong, those first on which the main score is weakest."""
    rivals = []
    real = wide[(wide.index.get_level_values("kind") != "control") & wide[main].notna()]
    for _, row in real.iterrows():
        others = row.drop(["pair", main]).astype(float)
        if others.max() > STRONG:
            best = str(others.idxmax())
            rivals.append(
                {"pair": row["pair"], "auroc": float(row[main]), "best": best, "best_auroc": float(others[best])}
            )
    return sorted(rivals, key=lambda rival: rival["auroc"])


def _as_good(table: pd.DataFrame, main: str, dataset: str) -> list[str]:
    """Return the pairs on which the difference to the control score is not above 0, in its interval if it has one."""
    limit = f"{DIFFERENCE}_low" if f"{DIFFERENCE}_low" in table else DIFFERENCE
    if limit not in table or main == CONTROL:
        return []
    wide = matrix(table[table["score"] == main], limit)
    names = names_of(wide, dataset)
    return [name for name, low in zip(names, wide[main], strict=True) if low <= 0]


def _covers_half(table: pd.DataFrame, main: str) -> bool | None:
    if "auroc_low" not in table:
        return None
    rows = table[(table["out_dataset"] == CALIBRATION) & (table["score"] == main)]
    return bool(((rows["auroc_low"] <= 0.5) & (rows["auroc_high"] >= 0.5)).all()) if len(rows) else None
