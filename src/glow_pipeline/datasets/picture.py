"""Kedro dataset of a picture or an animation."""

import logging
from pathlib import Path, PurePosixPath

from kedro_datasets._typing import ImagePreview
from matplotlib.figure import Figure
from PIL import Image

from glow_pipeline.datasets.previews import NOT_MADE, file_preview
from glow_pipeline.datasets.stored_file import StoredFileDataset
from glow_pipeline.plots.movie import Movie
from glow_pipeline.plots.mp4 import Mp4UnavailableError, write_mp4
from glow_pipeline.plots.style import DPI

FRAME_MILLISECONDS = 80

logger = logging.getLogger(__name__)


def frames_folder(path: PurePosixPath) -> PurePosixPath:
    """Return the folder beside a picture with the kept frames of its animation."""
    return path.with_name(f"{path.stem}_frames")


class PictureDataset(StoredFileDataset[Figure | Movie, Image.Image]):
    """A PNG, and of an animation beside it a GIF, an MP4 and on request its frames; kedro viz shows the PNG.

    The PNG is written last: a version without it is none. The MP4 needs imageio-ffmpeg, the extra `mp4`.

    kedro-datasets' MatplotlibDataset writes in place, so that a killed process leaves an incomplete picture as the
    newest version, and its ImageDataset cannot write frames.
    """

    def save(self, data: Figure | Movie) -> None:
        path = self._get_save_path()
        if isinstance(data, Movie):
            self._save_animation(path, data)
            data = data.still
        with self._writing(path) as png:
            data.savefig(png, dpi=DPI)

    def _save_animation(self, path: PurePosixPath, movie: Movie) -> None:
        first, *rest = [Image.fromarray(frame) for frame in movie.played]
        with self._writing(path.with_suffix(".gif")) as gif:
            first.save(gif, save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0)
        try:
            with self._writing(path.with_suffix(".mp4")) as mp4:
                write_mp4(mp4, movie.played, FRAME_MILLISECONDS)
        except Mp4UnavailableError as reason:
            logger.info("%s: no MP4 beside its GIF: %s", path.name, reason)
        if movie.keep_frames:
            with self._writing(frames_folder(path)) as folder:
                _write_frames(folder, movie)

    def load(self) -> Image.Image:
        with self._reading(self._get_load_path()) as png, Image.open(png) as image:
            return image.copy()

    def preview(self) -> ImagePreview:
        """Return the PNG, for kedro viz."""
        if not self.exists():
            return NOT_MADE
        with self._reading(self._get_load_path()) as png:
            return file_preview(png)


def _write_frames(folder: Path, movie: Movie) -> None:
    """Write the frames of the movement in one direction, `frame_000.png` and on; names sort in the order of frames."""
    folder.mkdir()
    digits = max(3, len(str(len(movie.frames) - 1)))
    for i, frame in enumerate(movie.frames):
        Image.fromarray(frame).save(folder / f"frame_{i:0{digits}}.png")
