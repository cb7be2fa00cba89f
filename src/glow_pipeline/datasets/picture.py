"""Kedro dataset of a picture, still or moving."""

import base64
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import Version
from kedro_datasets._typing import ImagePreview
from matplotlib.figure import Figure
from PIL import Image

from glow_pipeline.datasets.versioned import OwnVersionDataset
from glow_pipeline.files import written_whole
from glow_pipeline.plots.movie import Movie

GIF_MILLISECONDS = 80


class PictureDataset(OwnVersionDataset[Figure | Movie, Image.Image]):
    """A PNG, and beside it a GIF of the same name when the picture moves; kedro viz shows the PNG.

    kedro-datasets' MatplotlibDataset writes in place, so a kill leaves half a picture as the newest version,
    and its ImageDataset cannot write frames.

    Args:
        filepath: of the .png file.
        version: set by `versioned: true`.
        metadata: for plugins.
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.metadata = metadata
        super().__init__(PurePosixPath(filepath), version)

    def save(self, data: Figure | Movie) -> None:
        path = Path(self._get_save_path())
        if isinstance(data, Movie):
            first, *rest = [Image.fromarray(frame) for frame in data.frames]
            with written_whole(path.with_suffix(".gif")) as gif:
                first.save(gif, save_all=True, append_images=rest, duration=GIF_MILLISECONDS, loop=0)
            data = data.still
        with written_whole(path) as png:
            data.savefig(png, dpi=120)

    def load(self) -> Image.Image:
        with Image.open(Path(self._get_load_path())) as image:
            return image.copy()

    def preview(self) -> ImagePreview:
        """The PNG in base64, for kedro viz."""
        return ImagePreview(base64.b64encode(Path(self._get_load_path()).read_bytes()).decode())

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}
