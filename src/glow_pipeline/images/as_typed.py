"""A selection of images as a person types it."""

from glow_pipeline.buckets import as_typed
from glow_pipeline.images.selection import ImageSelection


def images_as_typed(image_selection: ImageSelection) -> str:
    """Return the `--params` that name these images."""
    typed = f"dataset={image_selection.source}"
    if image_selection.is_folder:
        path = "" if image_selection.path is None else f",ingest.path={as_typed(image_selection.path)}"
        typed += path if image_selection.name is None else f",ingest.name={image_selection.name}{path}"
    if image_selection.classes is not None:
        typed += f",ingest.classes={'+'.join(map(str, image_selection.classes))}"
    return typed
