"""The last lines of a command: artifacts and their places, key figures, and how to look at them."""

import os
import time
from pathlib import Path
from typing import Any, cast

import click
from kedro.framework.context import KedroContext
from kedro.io import AbstractVersionedDataset, DataCatalog

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.datasets.picture import PictureDataset
from glow_pipeline.hooks.artifacts import artifact_places
from glow_pipeline.hooks.stored_detector import describe_detector
from glow_pipeline.hooks.stored_model import describe_model
from glow_pipeline.images.sources.registry import FOLDER
from glow_pipeline.images.summary import summary
from glow_pipeline.outliers.benchmark.summary import lines_of_benchmark
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.groups import lines_of_groups
from glow_pipeline.outliers.report import lines_of_scores, warnings_of_scores
from glow_pipeline.verdict.history import lines_of_history
from glow_pipeline.verdict.table import most_suspicious
from glow_pipeline.verdict.worth import Worth, lines_of_worth

FIGURES = {
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


class ClosingReport:
    """The last lines of a run. `RunHook` passes on its calls, from which they are gathered."""

    def after_context_created(self, context: KedroContext) -> None:
        self._project, self._env = context.project_path, context.env

    def before_pipeline_run(self) -> None:
        self._started = time.monotonic()
        self._saved: list[str] = []
        self._metrics: list[dict[str, Any]] = []
        self._benchmarks: list[dict[str, Any]] = []
        self._worth: Worth | None = None
        self._most_suspicious: list[str] = []
        self._history: list[str] = []
        self._uses_model = False
        self._detector: DetectorRecord | None = None

    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        self._uses_model |= dataset_name == "glow_model"
        if isinstance(data, Detector):
            self._detector = data.record

    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        self._saved.append(dataset_name)
        if isinstance(data, Detector):
            self._detector = data.record
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

    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        lines = [f"Done in {time.monotonic() - self._started:.0f} s."]
        if self._uses_model:
            lines.append(f"  {describe_model(cast(GlowModelDataset, catalog['glow_model']))}")
        if self._detector is not None and self._detector.version is not None:
            lines.append(f"  {describe_detector(self._detector)}")
        for name in self._saved:
            dataset = catalog[name]
            if isinstance(dataset, AbstractVersionedDataset):
                lines += [f"  {name:<19} {_short(place, self._project)}" for place in artifact_places(dataset)]
            if isinstance(dataset, ImageTableDataset):
                lines.append(f"  {'':<19} {summary(dataset.load())}")
        lines += [
            f"  {metrics[key]:<19.4f} {meaning}{_of(metrics)}"
            for metrics in self._metrics
            for key, meaning in FIGURES.items()
            if key in metrics
        ]
        lines += [
            f"  {metrics[key]:<19.4f} {meaning}{_of(metrics) if i == 0 else ''}"
            for metrics in self._metrics
            for i, (key, meaning) in enumerate((lines_of_scores(metrics) | lines_of_groups(metrics)).items())
        ]
        lines += [line for metrics in self._metrics for line in _copies(metrics)]
        lines += [f"  {line}" for metrics in self._metrics for line in warnings_of_scores(metrics)]
        lines += [f"  {line}" for metrics in self._benchmarks for line in lines_of_benchmark(metrics)]
        if self._worth is not None:
            lines += [f"  {line}" for line in lines_of_worth(self._worth)]
            lines += [f"  Warning: {line}" for line in self._worth.warnings]
        lines += [f"  {line}" for line in [*self._most_suspicious, *self._history]]
        dataset_name = catalog.load("params:dataset")
        preset = self._project / "conf" / dataset_name
        if "glow_model" in self._saved and preset.is_dir() and self._env != dataset_name:
            lines.append(f"  `--env {dataset_name}` has settings that suit this dataset (conf/{dataset_name}).")
        pictures = any(isinstance(catalog[name], PictureDataset) for name in self._saved)
        opened = "the report and the pictures" if "score_report" in self._saved else "the pictures"
        look = f"open {opened} above; " if pictures else "" if self._saved else "nothing was made; "
        lines.append(f"Look: {look}`make ui` compares runs, `make viz` draws the pipelines.")
        click.echo("\n".join(lines))


def _short(place: Path | str, project: Path) -> str:
    """Return a path within the project relative to the working directory; another one unchanged."""
    inside = isinstance(place, Path) and place.is_relative_to(project)
    return os.path.relpath(place, project) if inside else str(place)


def _of(metrics: dict[str, Any]) -> str:
    """Return the images that the metrics are of, in brackets."""
    if "out_dataset" in metrics:
        inside, outside = (f"{metrics[f'n_{side}']} of {metrics[f'{side}_dataset']}" for side in ("in", "out"))
        return f" ({inside} vs {outside}, {metrics['images']})"
    return f" ({metrics['n_test']} images, {metrics['images']})"


def _copies(metrics: dict[str, Any]) -> list[str]:
    """Return a line for each kind of exact copies; those in a user's own folder are not scored."""
    return [
        f"  {metrics[key]:<19,} {meaning} ({'left out' if own_folder else 'scored, as published'})"
        for key, (meaning, name) in COPIES.items()
        if metrics.get(key)
        for own_folder in [metrics[name].startswith(FOLDER.name)]
    ]
