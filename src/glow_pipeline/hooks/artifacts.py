"""Where the catalog's artifacts lie on disk."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractVersionedDataset


def artifact_files(dataset: AbstractVersionedDataset[Any, Any]) -> list[Path]:
    """The files or the folder that loading the dataset would read now: a picture may have its GIF beside it."""
    path = Path(dataset._get_load_path())
    return sorted(path.parent.glob(f"{path.stem}.*")) if path.suffix else [path]
