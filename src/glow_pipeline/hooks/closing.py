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
from glow_pipeline.hooks.key_figures import KeyFigures
from glow_pipeline.hooks.stored_detector import describe_detector
from glow_pipeline.hooks.stored_model import describe_model
from glow_pipeline.images.summary import summary
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.tracking.run_pages import RunPages


class ClosingReport:
    """The last lines of a run. `RunHook` passes on its calls, from which they are gathered."""

    def after_context_created(self, context: KedroContext) -> None:
        self._project, self._env = context.project_path, context.env

    def before_pipeline_run(self, figures: KeyFigures) -> None:
        self._started = time.monotonic()
        self._saved: list[str] = []
        self._figures = figures
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

    def after_pipeline_run(self, catalog: DataCatalog, pages: RunPages | None) -> None:
        lines = [f"Done in {time.monotonic() - self._started:.0f} s."]
        if self._uses_model:
            lines.append(f"  {describe_model(cast(GlowModelDataset, catalog['glow_model']))}")
        if self._detector is not None and self._detector.version is not None:
            lines.append(f"  {describe_detector(self._detector)}")
        for name in self._saved:
            dataset = catalog[name]
            if (pending := getattr(dataset, "pending", None)) is not None:
                lines.append(f"  {name:<20} {pending}")
                continue
            if isinstance(dataset, AbstractVersionedDataset):
                lines += [f"  {name:<20} {_short(place, self._project)}" for place in artifact_places(dataset)]
            if isinstance(dataset, ImageTableDataset):
                lines.append(f"  {'':<20} {summary(dataset.load())}")
        lines += [f"  {figure.value:<20} {figure.meaning}" for figure in self._figures.figures()]
        lines += [f"  {line}" for line in self._figures.notes()]
        dataset_name = catalog.load("params:dataset")
        preset = self._project / "conf" / dataset_name
        if "glow_model" in self._saved and preset.is_dir() and self._env != dataset_name:
            lines.append(f"  `--env {dataset_name}` has settings that suit this dataset (conf/{dataset_name}).")
        pictures = any(isinstance(catalog[name], PictureDataset) for name in self._saved)
        opened = "the report and the pictures" if "score_report" in self._saved else "the pictures"
        look = f"open {opened} above; " if pictures else "" if self._saved else "nothing was made; "
        lines.append(f"Look: {look}`make ui` compares runs, `make viz` draws the pipelines.")
        if pages is not None:
            lines.append("Pages in MLflow, after `make ui`:" if pages.needs_ui else "Pages in MLflow:")
            lines += [f"  {what:<20} {address}" for what, address in pages.lines()]
        click.echo("\n".join(lines))


def _short(place: Path | str, project: Path) -> str:
    """Return a path within the project relative to the working directory; another one unchanged."""
    inside = isinstance(place, Path) and place.is_relative_to(project)
    return os.path.relpath(place, project) if inside else str(place)
