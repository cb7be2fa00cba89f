"""Bootstrap of detection metrics: intervals of each score, and of the differences between two scores.

Both sets are resampled apart (stratified), each to its own size, and all scores are measured on the same resamples
(paired). An interval is that of percentiles. It covers the sampling of the test images alone: another training, with
another seed, varies too and is not in it. Where a metric is the same in all resamples, as the AUROC of a perfect
separation, the interval has no width although more images could show errors.

Source: Efron and Tibshirani 1993, An introduction to the bootstrap, chapters 8 and 13.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.outliers.metrics import METRICS, check_both_kinds, detection_metrics, metrics_of_counts, places
from glow_pipeline.randomness import key

COVERAGE = 0.95
SHOW_AFTER = 5.0  # seconds until a progress bar appears

Resampled = dict[str, NDArray[np.float64]]  # metric -> (draws,)


def metrics_with_intervals(
    is_out: NDArray[np.bool_],
    scores: Mapping[str, NDArray[np.floating]],
    references: Iterable[str],
    draws: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Return the metrics of each score with their intervals, and its AUROC minus that of each reference.

    Args:
        is_out, scores, draws, seed: as `resampled_metrics` takes them; without draws there are no intervals.
        references: names of scores to compare with, as far as they are among the scores.

    Returns:
        Name of the score -> metrics of `detection_metrics`, `auroc_minus_<reference>`, and the limits of both.
    """
    measured = {name: detection_metrics(is_out, score) for name, score in scores.items()}
    resampled = resampled_metrics(is_out, scores, draws, seed)
    results: dict[str, dict[str, float]] = {}
    references = [name for name in references if name in scores]
    for name in scores:
        results[name] = {**measured[name], **intervals(resampled[name])}
        for reference in references:
            if reference != name:
                difference = f"auroc_minus_{reference}"
                paired = resampled[name]["auroc"] - resampled[reference]["auroc"]
                results[name][difference] = measured[name]["auroc"] - measured[reference]["auroc"]
                results[name] |= intervals({difference: paired})
    return results


def resampled_metrics(
    is_out: NDArray[np.bool_], scores: Mapping[str, NDArray[np.floating]], draws: int, seed: int
) -> dict[str, Resampled]:
    """Return each metric of each score on each resample.

    The resamples depend on the numbers of images and the seed alone, so a score has the same figures beside any other
    scores. Memory does not grow with the number of draws, but for the result.

    Args:
        is_out: (n,), true for the outliers.
        scores: name -> (n,), higher for more outlying images.
        draws: number of resamples.
        seed: the run's seed.

    Returns:
        Name of the score -> metric -> (draws,).

    Raises:
        GlowPipelineError: all images are of one kind.
    """
    check_both_kinds(is_out)
    ranked = {name: places(score) for name, score in scores.items()}
    place_in = {name: place[~is_out] for name, place in ranked.items()}
    place_out = {name: place[is_out] for name, place in ranked.items()}
    n_places = {name: int(place.max()) + 1 for name, place in ranked.items()}
    n_in, n_out = int(np.sum(~is_out)), int(np.sum(is_out))
    scratch = np.empty((6, max(n_places.values(), default=0)))
    results = {name: {metric: np.empty(draws) for metric in METRICS} for name in scores}
    random = np.random.default_rng(key(seed, "bootstrap") % 2**64)
    for draw in tqdm(range(draws), desc="bootstrap", unit="draw", delay=SHOW_AFTER, leave=False):
        drawn_in, drawn_out = random.integers(n_in, size=n_in), random.integers(n_out, size=n_out)
        for name, result in results.items():
            measured = metrics_of_counts(
                np.bincount(place_in[name][drawn_in], minlength=n_places[name]),
                np.bincount(place_out[name][drawn_out], minlength=n_places[name]),
                scratch[:, : n_places[name]],
            )
            for metric in METRICS:
                result[metric][draw] = measured[metric]
    return results


def intervals(resampled: Resampled) -> dict[str, float]:
    """Return the limits of the 95% interval of each metric: `auroc_low`, `auroc_high`, ...; none without a resample."""
    limits: dict[str, float] = {}
    for metric, values in resampled.items():
        if len(values):
            low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
            limits |= {f"{metric}_low": float(low), f"{metric}_high": float(high)}
    return limits
