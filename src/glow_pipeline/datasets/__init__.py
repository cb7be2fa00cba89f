"""Kedro datasets of types that no library supports."""

from glow_pipeline.datasets.folder import FolderDataset
from glow_pipeline.datasets.glow_detector import GlowDetectorDataset
from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.datasets.image_tables import ImageTablesDataset
from glow_pipeline.datasets.picture import PictureDataset
from glow_pipeline.datasets.strict_json import StrictJSONDataset
from glow_pipeline.datasets.whole_file import WholeFileDataset

__all__ = [
    "FolderDataset",
    "GlowDetectorDataset",
    "GlowModelDataset",
    "ImageTableDataset",
    "ImageTablesDataset",
    "PictureDataset",
    "StrictJSONDataset",
    "WholeFileDataset",
]
