"""The figures of a run that a person reads first: in its closing lines, and in its description in MLflow."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from glow_pipeline.images.selection import OWN
from glow_pipeline.outliers.benchmark.summary import lines_of_benchmark
from glow_pipeline.outliers.groups import lines_of_groups
from glow_pipeline.outliers.report import lines_of_scores, warnings_of_scores
from glow_pipeline.verdict.history import lines_of_history
from glow_pipeline.verdict.table import most_suspicious
from glow_pipeline.verdict.worth import Worth, lines_of_worth

TEST_FIGURES = {
    "test_bits_per_dim": "bits/dim on test images",
    "test_bits_per_dim_given_class": "bits/dim on test images given their class",
}
# Metric -> its meaning, and the metric that names the set in which the copies were found.
COPIES = {
    "test_copies_of_train": ("exact copies of training images among the test images", "dataset"),
    "in_copies_of_train": ("exact copies of training images among the test images", "in_dataset"),
    "out_copies_of_train": ("exact copies of training images among the outliers", "out_dataset"),
    "out_copies_of_in": ("exact copies of test images among the outliers", "out_dataset"),
}


class KeyFigure(NamedTuple):
    """A figure as a text, and its meaning."""

    value: str
    meaning: str


class KeyFigures:
    """Gathers the key figures from what a run saves."""

    def __init__(self) -> None:
        self._metrics: list[Mapping[str, Any]] = []
        self._benchmarks: list[dict[str, Any]] = []
        self._worth: Worth | None = None
        self._most_suspicious: list[str] = []
        self._history: list[str] = []

    def add(self, dataset_name: str, data: Any) -> None:
        """Take a dataset that the run has saved."""
        if isinstance(data, dict) and "images" in data:
            self._metrics.append(data)
        if dataset_name == "benchmark_metrics":
            self._benchmarks.append(data)
        if dataset_name == "scored_files":
            self._most_suspicious = most_suspicious(data)
        if dataset_name == "score_worth":
            self._worth = Worth.model_validate(data)
        if dataset_name == "score_history":
            self._history = lines_of_history(data)

    def figures(self) -> list[KeyFigure]:
        """Return the figures, those of trainings before those of scores."""
        return [
            *(figure for metrics in self._metrics for figure in _of_test(metrics)),
            *(figure for metrics in self._metrics for figure in _of_scores(metrics)),
            *(figure for metrics in self._metrics for figure in _copies(metrics)),
        ]

    def notes(self) -> list[str]:
        """Return what has to be said beside the figures, a line each: warnings, and the results of other pipelines."""
        notes = [line for metrics in self._metrics for line in warnings_of_scores(metrics)]
        notes += [line for metrics in self._benchmarks for line in lines_of_benchmark(metrics)]
        if self._worth is not None:
            notes += lines_of_worth(self._worth)
            notes += [f"Warning: {line}" for line in self._worth.warnings]
        return [*notes, *self._most_suspicious, *self._history]


def _of_test(metrics: Mapping[str, Any]) -> Iterator[KeyFigure]:
    for key, meaning in TEST_FIGURES.items():
        if key in metrics:
            yield KeyFigure(f"{metrics[key]:.4f}", f"{meaning}{_images_of(metrics)}")


def _of_scores(metrics: Mapping[str, Any]) -> Iterator[KeyFigure]:
    lines = lines_of_scores(metrics) | lines_of_groups(metrics)
    for i, (key, meaning) in enumerate(lines.items()):
        yield KeyFigure(f"{metrics[key]:.4f}", f"{meaning}{_images_of(metrics) if i == 0 else ''}")


def _copies(metrics: Mapping[str, Any]) -> Iterator[KeyFigure]:
    """Yield the number of each kind of exact copies; those in a user's own folder are not scored."""
    for key, (meaning, name) in COPIES.items():
        if metrics.get(key):
            treated = "left out" if metrics[name].startswith(OWN) else "scored, as published"
            yield KeyFigure(f"{metrics[key]:,}", f"{meaning} ({treated})")


def _images_of(metrics: Mapping[str, Any]) -> str:
    """Return the images that the metrics are of, in brackets."""
    if "out_dataset" in metrics:
        inside, outside = (f"{metrics[f'n_{side}']} of {metrics[f'{side}_dataset']}" for side in ("in", "out"))
        return f" ({inside} vs {outside}, {metrics['images']})"
    return f" ({metrics['n_test']} images, {metrics['images']})"
