"""Kedro datasets of types that no library supports."""

from glow_pipeline.datasets.csv_table import CSVTableDataset
from glow_pipeline.datasets.folder import FolderDataset, StoreDataset
from glow_pipeline.datasets.glow_detector import GlowDetectorDataset
from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.datasets.html_page import HTMLPageDataset
from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.datasets.image_tables import ImageTablesDataset
from glow_pipeline.datasets.model_card import ModelCardDataset
from glow_pipeline.datasets.picture import PictureDataset
from glow_pipeline.datasets.score_table import ScoreTableDataset
from glow_pipeline.datasets.strict_json import StrictJSONDataset
from glow_pipeline.datasets.whole_file import WholeFileDataset
from glow_pipeline.datasets.written_folder import WrittenFolderDataset

__all__ = [
    "CSVTableDataset",
    "FolderDataset",
    "GlowDetectorDataset",
    "GlowModelDataset",
    "HTMLPageDataset",
    "ImageTableDataset",
    "ImageTablesDataset",
    "ModelCardDataset",
    "PictureDataset",
    "ScoreTableDataset",
    "StoreDataset",
    "StrictJSONDataset",
    "WholeFileDataset",
    "WrittenFolderDataset",
]
