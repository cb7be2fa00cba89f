"""Which images a run is about, and what they look like: as the parameters ask, or as the stored model was fed."""

from typing import Any, cast

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.stored import ModelRecord

TABLES = ("train_images", "test_images", "out_images")


class ImagesHook:
    """Puts `image_set`, `out_image_set` and `image_spec` into the catalog.

    A run that trains goes by its parameters. A run that uses a stored model goes by that model's record, so
    that images are prepared and split as they were for training, whatever the defaults are by then. An
    interactive session (a notebook, kedro viz) goes by the stored model when there is one.
    """

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog, parameters: dict[str, Any]) -> None:
        try:
            stored = _stored_record(catalog)
        except GlowPipelineError:  # a damaged model: a run that needs it will say so
            stored = None
        _fill(catalog, Parameters.model_validate(parameters["parameters"]), stored)

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        if "glow_model" not in pipeline.inputs():
            _fill(catalog, Parameters.model_validate(catalog.load("parameters")), None)


def _stored_record(catalog: DataCatalog) -> ModelRecord | None:
    dataset = cast(GlowModelDataset, catalog["glow_model"])
    return dataset.record() if dataset.exists() else None


def _fill(catalog: DataCatalog, parameters: Parameters, stored: ModelRecord | None) -> None:
    spec = parameters.image_spec if stored is None else stored.image_spec
    image_set = parameters.image_set if stored is None else stored.train_table.image_set
    catalog.save("image_spec", spec)
    catalog.save("image_set", image_set)
    catalog.save("out_image_set", _split_alike(parameters.out_image_set, image_set))
    for name in TABLES:
        cast(ImageTableDataset, catalog[name]).identify(spec)


def _split_alike(out: ImageSet, inside: ImageSet) -> ImageSet:
    """Outliers from the very folder that was trained on: no image of it that training saw is a test image."""
    if (out.source, out.path, out.eval_path) != (inside.source, inside.path, inside.eval_path):
        return out
    return inside.model_copy(update={"classes": out.classes})
