"""From a source's files to image tables."""

from pathlib import Path

from glow_pipeline.images.registry import SOURCES
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import PlannedTable, plan_table


def ingest_train(dataset: str, image_spec: ImageSpec, raw_folder: Path) -> PlannedTable:
    """The training images of `dataset`, as `image_spec` says; decoded when the catalog saves them."""
    return plan_table(SOURCES[dataset], "train", image_spec, raw_folder)


def ingest_test(dataset: str, image_spec: ImageSpec, raw_folder: Path) -> PlannedTable:
    """The test images, the in-distribution ones or the out-of-distribution ones, by the same path."""
    return plan_table(SOURCES[dataset], "test", image_spec, raw_folder)
