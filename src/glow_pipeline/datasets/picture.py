"""Kedro dataset of a picture or an animation."""

import base64

from kedro_datasets._typing import ImagePreview
from matplotlib.figure import Figure
from PIL import Image

from glow_pipeline.datasets.stored_file import StoredFileDataset
from glow_pipeline.plots.movie import Movie

GIF_MILLISECONDS = 80


class PictureDataset(StoredFileDataset[Figure | Movie, Image.Image]):
    """A PNG, and of an animation also a GIF of the same name; kedro viz shows the PNG.

    kedro-datasets' MatplotlibDataset writes in place, so that a killed process leaves an incomplete picture as the
    newest version, and its ImageDataset cannot write frames.
    """

    def save(self, data: Figure | Movie) -> None:
        path = self._get_save_path()
        if isinstance(data, Movie):
            first, *rest = [Image.fromarray(frame) for frame in data.frames]
            with self._writing(path.with_suffix(".gif")) as gif:
                first.save(gif, save_all=True, append_images=rest, duration=GIF_MILLISECONDS, loop=0)
            data = data.still
        with self._writing(path) as png:
            data.savefig(png, dpi=120)

    def load(self) -> Image.Image:
        with self._reading(self._get_load_path()) as png, Image.open(png) as image:
            return image.copy()

    def preview(self) -> ImagePreview:
        """Return the PNG in base64, for kedro viz."""
        with self._reading(self._get_load_path()) as png:
            return ImagePreview(base64.b64encode(png.read_bytes()).decode())
