"""From a source's files to image tables."""

from pathlib import Path

from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.planned_table import PlannedTable, plan_table
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.parameters import IngestParameters


def ingest_train(
    image_set: ImageSet, image_spec: ImageSpec, raw_folder: Path, ingest: IngestParameters
) -> PlannedTable:
    """The training images of `dataset`, as `image_spec` says; decoded when the catalog saves them."""
    return plan_table(
        image_set, "train", image_spec, raw_folder, ingest.on_unreadable, ingest.num_workers, ingest.max_pixels
    )


def ingest_test(image_set: ImageSet, image_spec: ImageSpec, raw_folder: Path, ingest: IngestParameters) -> PlannedTable:
    """The test images, the in-distribution ones or the out-of-distribution ones, by the same path."""
    return plan_table(
        image_set, "test", image_spec, raw_folder, ingest.on_unreadable, ingest.num_workers, ingest.max_pixels
    )
