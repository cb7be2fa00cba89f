"""The check that images which no program can fetch are on disk."""

from collections.abc import Sequence
from pathlib import Path

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import check_folder
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.sources.source import Split


def check_available(
    image_selection: ImageSelection, splits: Sequence[Split], raw: Path, path: str, eval_path: str
) -> None:
    """Check that the images which no program can fetch are on disk.

    Args:
        image_selection, splits: the images.
        raw: the folder of downloads.
        path, eval_path: the parameters that name a folder.
    """
    if image_selection.is_folder:
        if "train" in splits or image_selection.eval_path is None:
            _check_folder(image_selection.path, path, image_selection.source)
        if image_selection.eval_path is not None:
            _check_folder(image_selection.eval_path, eval_path, image_selection.source)
        return
    source = source_of(image_selection)
    _, absent = source.on_disk(raw, splits)
    if source.manual and absent:
        names = ", ".join(file.name for file in absent)
        raise GlowPipelineError(
            f"{absent[0].parent}: {names}: missing, and {source.name} cannot be downloaded by a program; "
            f"put there what you get from {source.manual}"
        )


def _check_folder(path: Path | None, parameter: str, source: str) -> None:
    if path is None:
        raise GlowPipelineError(f"{parameter}=null: this command reads images of a folder; set {parameter}")
    check_folder(path, parameter, source)
