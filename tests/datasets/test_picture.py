import base64
import io
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import imageio_ffmpeg
import numpy as np
import pytest
from kedro.io import DatasetError, Version
from matplotlib.figure import Figure
from PIL import Image

from glow_pipeline.datasets import PictureDataset
from glow_pipeline.datasets.picture import FRAME_MILLISECONDS
from glow_pipeline.plots.movie import Movie

VERSION = "2026-01-01T00.00.00.000Z"


@pytest.fixture
def entry(tmp_path: Path) -> PictureDataset:
    return PictureDataset(filepath=str(tmp_path / "samples.png"), version=Version(None, VERSION))


def saved(tmp_path: Path) -> dict[str, Path]:
    return {file.name: file for file in (tmp_path / "samples.png" / VERSION).iterdir()}


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    drawn.text(0.1, 0.5, "something")
    return drawn


def movie() -> Movie:
    frames = [np.full((6, 4, 3), value, dtype=np.uint8) for value in (0, 128, 255)]
    return Movie(figure(), frames)


def test_figure_is_saved_as_png(entry: PictureDataset, tmp_path: Path) -> None:
    assert not entry.exists()
    entry.save(figure())
    assert entry.exists()
    assert list(saved(tmp_path)) == ["samples.png"]
    image = entry.load()
    assert image.size == (240, 120)
    assert np.array(image.convert("L")).min() < 100  # the text


def test_animation_is_saved_as_png_gif_and_mp4(entry: PictureDataset, tmp_path: Path) -> None:
    entry.save(movie())
    files = saved(tmp_path)
    assert set(files) == {"samples.png", "samples.gif", "samples.mp4"}
    assert entry.load().size == (240, 120)
    with Image.open(files["samples.gif"]) as gif:
        assert gif.format == "GIF"
        # Three frames there, one back.
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (4, (4, 6), 0)  # type: ignore[attr-defined]
        for i, value in enumerate((0, 128, 255, 128)):
            gif.seek(i)
            assert gif.info["duration"] == FRAME_MILLISECONDS
            assert (np.array(gif.convert("RGB")) == value).all()
    assert imageio_ffmpeg.count_frames_and_secs(files["samples.mp4"])[0] == 4


def test_animation_without_ffmpeg_says_why(
    entry: PictureDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with caplog.at_level(logging.INFO):
        entry.save(movie())
    assert set(saved(tmp_path)) == {"samples.png", "samples.gif"}
    (line,) = [record.getMessage() for record in caplog.records if "MP4" in record.getMessage()]
    assert line.startswith("samples.png: no MP4 beside its GIF: imageio-ffmpeg is not installed")


def test_kept_frames_are_numbered_pngs(entry: PictureDataset, tmp_path: Path) -> None:
    entry.save(replace(movie(), keep_frames=True))
    folder = saved(tmp_path)["samples_frames"]
    assert sorted(file.name for file in folder.iterdir()) == ["frame_000.png", "frame_001.png", "frame_002.png"]
    for i, value in enumerate((0, 128, 255)):
        with Image.open(folder / f"frame_{i:03}.png") as frame:
            assert (frame.size, frame.mode) == ((4, 6), "RGB")
            assert (np.array(frame) == value).all()


def test_many_kept_frames_sort_in_their_order(entry: PictureDataset, tmp_path: Path) -> None:
    frames = [np.zeros((2, 2, 3), dtype=np.uint8)] * 1001
    entry.save(Movie(figure(), frames, keep_frames=True))
    names = sorted(file.name for file in saved(tmp_path)["samples_frames"].iterdir())
    assert (names[0], names[9], names[-1]) == ("frame_0000.png", "frame_0009.png", "frame_1000.png")


def test_failed_frames_leave_no_version(entry: PictureDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, stored = Image.Image.save, []

    def cut_off(self: Image.Image, path: Path, **given: object) -> None:
        if path.name == "frame_001.png":
            raise RuntimeError("cut off")
        stored.append(path.name)
        save(self, path, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", cut_off)
    with pytest.raises(DatasetError, match="cut off"):
        entry.save(replace(movie(), keep_frames=True))
    assert stored[-1] == "frame_000.png"
    assert set(saved(tmp_path)) == {"samples.gif", "samples.mp4"}
    assert not entry.exists()


def test_the_preview_is_the_png_in_base64(entry: PictureDataset) -> None:
    entry.save(movie())
    with Image.open(io.BytesIO(base64.b64decode(entry.preview()))) as image:
        assert image.format == "PNG"
        assert image.size == (240, 120)


def test_a_loaded_image_does_not_hold_the_file(entry: PictureDataset, tmp_path: Path) -> None:
    entry.save(figure())
    image = entry.load()
    saved(tmp_path)["samples.png"].unlink()
    assert image.convert("L").size == (240, 120)


def test_failed_picture_leaves_no_file(entry: PictureDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(self: Figure, path: Path, **_: object) -> NoReturn:
        path.write_bytes(b"\x89PNG")
        raise RuntimeError("cut off")

    monkeypatch.setattr(Figure, "savefig", cut_off)
    with pytest.raises(DatasetError, match="cut off"):
        entry.save(figure())
    assert saved(tmp_path) == {}
    assert not entry.exists()


def test_animation_without_its_png_is_not_a_version(
    entry: PictureDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], bool]] = []
    savefig = Figure.savefig

    def watched(self: Figure, path: Path, *, dpi: float) -> None:
        others = PictureDataset(filepath=str(tmp_path / "samples.png"), version=Version(None, None))
        seen.append((sorted(saved(tmp_path)), others.exists()))
        savefig(self, path, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", watched)
    entry.save(movie())
    assert seen == [(["samples.gif", "samples.mp4"], False)]
