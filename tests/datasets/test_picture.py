import base64
import io
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from kedro.io import DatasetError, Version
from matplotlib.figure import Figure
from PIL import Image

from glow_pipeline.datasets import PictureDataset
from glow_pipeline.datasets.picture import GIF_MILLISECONDS
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


def test_animation_is_saved_as_png_and_gif(entry: PictureDataset, tmp_path: Path) -> None:
    entry.save(movie())
    files = saved(tmp_path)
    assert set(files) == {"samples.png", "samples.gif"}
    assert entry.load().size == (240, 120)
    with Image.open(files["samples.gif"]) as gif:
        assert gif.format == "GIF"
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (3, (4, 6), 0)  # type: ignore[attr-defined]
        for i, value in enumerate((0, 128, 255)):
            gif.seek(i)
            assert gif.info["duration"] == GIF_MILLISECONDS
            assert (np.array(gif.convert("RGB")) == value).all()


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
    assert seen == [(["samples.gif"], False)]
