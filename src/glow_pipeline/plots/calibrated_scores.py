"""Scores of files beside those of the calibration images, with the threshold between the verdicts."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.plots.axes import LEGEND, single_axes
from glow_pipeline.plots.histograms import BINS, label_x, limits
from glow_pipeline.plots.style import BLUE, RED

Scores = NDArray[np.floating]

PALE = "0.72"
FEW = 100  # so many files are drawn one by one
LIFT, STEP = 1.06, 0.05  # of the highest bar: where their marks are, and the distance of the two rows


def calibrated_scores(calibration: Scores, outliers: Scores, others: Scores, threshold: float, label: str) -> Figure:
    """Draw the distribution of the calibration scores, the scores of files with it, and the threshold.

    Up to `FEW` files are marks above the bars, more are histograms over them. Scores beyond the axis
    (`histograms.score_histograms`) are at its ends.

    Args:
        calibration: scores of the calibration images (n,), at least one.
        outliers, others: scores of the files by verdict, (m,) and (k,).
        threshold: files that score higher are outliers.
        label: of the scores.
    """
    figure, axes = single_axes(7.0, 3.2)
    scores = {"calibration images": calibration, "files": np.concatenate([outliers, others])}
    low, high = limits(scores)
    bins, n_files = np.linspace(low, high, BINS + 1).tolist(), len(scores["files"])

    def within(values: Scores) -> Scores:
        return np.clip(np.where(np.isnan(values), np.inf, values), low, high)

    name = f"calibration images ({len(calibration):,})"
    heights, _, _ = axes.hist(within(calibration), bins=bins, density=True, color=PALE, label=name)
    top = float(np.max(heights))
    for row, (values, colour, kind) in enumerate(((outliers, RED, "outliers"), (others, BLUE, "other files"))):
        name = f"{kind} ({len(values):,})"
        if n_files <= FEW:
            height = np.full(len(values), top * (LIFT + row * STEP))
            axes.plot(within(values), height, "|", color=colour, markersize=8, label=name)
        else:
            weights = np.full(len(values), BINS / ((high - low) * n_files))
            axes.hist(
                within(values), bins=bins, weights=weights, histtype="step", linewidth=1.5, color=colour, label=name
            )
    if low <= threshold <= high:
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label="threshold of the verdict")
    label_x(axes, label, scores, 6.0, LEGEND)
    axes.set_ylabel("density", fontsize=LEGEND)
    axes.legend(fontsize=LEGEND)
    return figure
