"""What the images of a run look like: as the parameters ask, or as the stored model was fed."""

from typing import Any, cast

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.parameters import Parameters

TABLES = ("train_images", "test_images", "out_images")


class ImageSpecHook:
    """Puts `image_spec` into the catalog and tells the image tables which images are meant.

    A run that trains goes by its parameters. A run that uses a stored model goes by that model's record,
    so that images are prepared as they were for training, whatever the defaults are by then. An
    interactive session (a notebook, kedro viz) goes by the stored model when there is one.
    """

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog, parameters: dict[str, Any]) -> None:
        asked_for = Parameters.model_validate(parameters["parameters"]).image_spec
        try:
            spec = _stored_spec(catalog) or asked_for
        except GlowPipelineError:  # a damaged model: a run that needs it will say so
            spec = asked_for
        _identify(catalog, spec)

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        if "glow_model" not in pipeline.inputs():
            _identify(catalog, Parameters.model_validate(catalog.load("parameters")).image_spec)


def _stored_spec(catalog: DataCatalog) -> ImageSpec | None:
    dataset = cast(GlowModelDataset, catalog["glow_model"])
    return dataset.record().image_spec if dataset.exists() else None


def _identify(catalog: DataCatalog, spec: ImageSpec) -> None:
    catalog.save("image_spec", spec)
    for name in TABLES:
        cast(ImageTableDataset, catalog[name]).identify(spec)
