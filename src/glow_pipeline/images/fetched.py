"""Local copies of tables in buckets: small files at once, files of images when one of their images is read."""

import logging
from pathlib import Path

from filelock import FileLock

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256, written_whole
from glow_pipeline.images.table_files import BESIDE_IMAGES, PARTS, read_parts
from glow_pipeline.stores import Store

logger = logging.getLogger(__name__)


def fetch_small_files(store: Store, folder: Path) -> None:
    """Copy all files of a table but its images and its record into a folder, unless they are there."""
    names = store.names()
    for name in (*BESIDE_IMAGES, PARTS):
        if name in names:
            _fetch(store, folder / name)


def fetch_images(store: Store, title: str, path: Path) -> None:
    """Copy a file of images to this path, unless it is there. Of several processes one copies, while others wait.

    Args:
        store: the table's files.
        title: of the table, for the log.
        path: where the table reads the file.

    Raises:
        GlowPipelineError: its content is not what it was when the table was made.
    """
    if path.is_file():
        return
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.is_file():
            logger.info("%s: fetching %s into %s", title, path.name, path.parent)
            _fetch(store, path)


def _fetch(store: Store, path: Path) -> None:
    if path.is_file():
        return
    with written_whole(path) as temporary:
        store.fetch(path.name, temporary)
        parts = read_parts(path.parent / PARTS) if (path.parent / PARTS).is_file() else []
        wanted = {part.file: part.sha256 for part in parts}.get(path.name)
        if wanted is not None and sha256(temporary) != wanted:
            raise GlowPipelineError(
                f"{store}: {path.name} is not as it was when the table was made; remove the table there and make it "
                f"again"
            )
