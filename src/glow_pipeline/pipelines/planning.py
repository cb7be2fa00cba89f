"""The plan of a table by the parameters of `ingest`, which all nodes share that take images from a source."""

from pathlib import Path

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.table_writer import TableWriter, plan_table
from glow_pipeline.parameters import IngestParameters


def plan_images(
    image_selection: ImageSelection,
    split: Split,
    image_format: ImageFormat,
    raw_folder: Path,
    ingest: IngestParameters,
    folder_looks: FolderLooks,
) -> TableWriter:
    """Plan the table of a split; nothing is decoded yet."""
    return plan_table(
        image_selection,
        split,
        image_format,
        raw_folder,
        ingest.on_unreadable,
        ingest.num_workers,
        ingest.max_pixels,
        folder_looks,
    )
