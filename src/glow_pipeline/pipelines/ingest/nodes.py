"""Nodes that plan image tables from a source's files."""

from pathlib import Path

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.parameters import IngestParameters
from glow_pipeline.pipelines.planning import plan_images


def ingest_train(
    image_selection: ImageSelection,
    image_format: ImageFormat,
    raw_folder: Path,
    ingest: IngestParameters,
    folder_looks: FolderLooks,
) -> TableWriter:
    """Plan the table of training images of `dataset`; they are decoded when the catalog saves it."""
    return plan_images(image_selection, "train", image_format, raw_folder, ingest, folder_looks)


def ingest_test(
    image_selection: ImageSelection,
    image_format: ImageFormat,
    raw_folder: Path,
    ingest: IngestParameters,
    folder_looks: FolderLooks,
) -> TableWriter:
    """Plan a table of test images; in-distribution and out-of-distribution images take the same path."""
    return plan_images(image_selection, "test", image_format, raw_folder, ingest, folder_looks)
