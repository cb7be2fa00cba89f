"""Checks of a benchmark before it starts: its sets of outliers, and the stored models beside the one it is about."""

from pathlib import Path
from typing import cast

from kedro.io import DataCatalog

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.available_images import check_available
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.outliers.benchmark.out_sets import out_set_names, selection_of
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.models_with_detectors import detector_of, newest_model, other_seeds


def check_benchmark(parameters: Parameters, inside: ImageSelection, catalog: DataCatalog) -> None:
    """Check that all sets are available and apart from the in-distribution images, and that all models are usable.

    Raises:
        GlowPipelineError: the first thing that is wrong.
    """
    raw, models = (cast(Path, catalog.load(name)) for name in ("raw_folder", "models_folder"))
    benchmark, ood = parameters.benchmark, parameters.ood
    names = out_set_names(benchmark.out_datasets, inside, raw)
    for name in names:
        if (out := selection_of(name)) is not None:
            _check_out_set(name, out, inside, raw)
    model = cast(GlowModelDataset, catalog["glow_model"])
    if not model.is_local and (benchmark.seeds > 1 or benchmark.both_directions):
        raise GlowPipelineError(
            f"benchmark.seeds={benchmark.seeds}, benchmark.both_directions={str(benchmark.both_directions).lower()}: "
            f"other models are found on a local disk alone, and glow_model is in a bucket; set them to 1 and false"
        )
    for path in other_seeds(model.filepath, model.record(), benchmark.seeds - 1):
        detector_of(path, ood.score_names, ood.draws)
    if benchmark.both_directions:
        alone = [name for name in ood.score_names if SCORES[name].needs is None]
        for path in filter(None, (newest_model(models, name) for name in names)):
            detector_of(path, alone, ood.draws)


def _check_out_set(name: str, out: ImageSelection, inside: ImageSelection, raw: Path) -> None:
    check_available(out, ["test"], raw, "ingest.path", "ingest.eval_path")
    if out.overlaps(inside):
        raise GlowPipelineError(
            f"benchmark.out_datasets={name}: its images are among those of dataset={inside.key}; leave it out, or set "
            f"ingest.classes and name other classes, as in {out.source}_class_1"
        )
