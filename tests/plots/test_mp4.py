import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from glow_pipeline.plots.mp4 import Mp4UnavailableError, write_mp4

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")

VALUES = (0, 90, 180, 255)


def frames(height: int, width: int) -> list[NDArray[np.uint8]]:
    return [np.full((height, width, 3), value, dtype=np.uint8) for value in VALUES]


def read(path: Path) -> tuple[dict[str, object], list[NDArray[np.uint8]]]:
    stream = imageio_ffmpeg.read_frames(path)
    about = next(stream)
    width, height = about["size"]
    return about, [np.frombuffer(each, np.uint8).reshape(height, width, 3) for each in stream]


@pytest.mark.parametrize(("size", "even"), [((320, 400), (320, 400)), ((321, 399), (322, 400))])
def test_video_has_frames_rate_and_even_sides(tmp_path: Path, size: tuple[int, int], even: tuple[int, int]) -> None:
    write_mp4(tmp_path / "a.mp4", frames(*size), 80)
    about, found = read(tmp_path / "a.mp4")
    assert about["codec"] == "h264"
    assert str(about["pix_fmt"]).startswith("yuv420p")
    assert about["fps"] == 12.5
    assert [frame.shape for frame in found] == [(*even, 3)] * len(VALUES)
    assert [frame.mean() for frame in found] == pytest.approx(VALUES, abs=3)


def test_odd_sides_repeat_their_last_pixels(tmp_path: Path) -> None:
    frame = np.zeros((63, 65, 3), dtype=np.uint8)
    frame[:, 60:], frame[59:] = 255, 255  # bright from column 60 and row 59 on
    write_mp4(tmp_path / "a.mp4", [frame, frame], 80)
    (_, (found, _)) = read(tmp_path / "a.mp4")
    expected = np.zeros((64, 66))
    expected[:, 60:], expected[59:] = 255, 255
    assert np.abs(found[..., 0] - expected).max() < 60  # a shifted or stretched edge would differ by 255
    assert np.abs(found[..., 0] - expected).mean() < 3


def test_video_is_the_same_again(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, frames(64, 64), 80)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(Mp4UnavailableError, match="imageio-ffmpeg is not installed"):
        write_mp4(tmp_path / "a.mp4", frames(8, 8), 80)


def test_missing_ffmpeg_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr("imageio_ffmpeg._io.get_first_available_h264_encoder", missing)
    with pytest.raises(Mp4UnavailableError, match="No ffmpeg exe"):
        write_mp4(tmp_path / "a.mp4", frames(8, 8), 80)


def test_ffmpeg_that_cannot_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(Mp4UnavailableError, match=r"No such file or directory: .*nowhere"):
        write_mp4(tmp_path / "a.mp4", frames(8, 8), 80)


def test_incomplete_video_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "count_frames_and_secs", lambda path: (3, 0.24))
    with pytest.raises(OSError, match="ffmpeg wrote 3 of 4 frames"):
        write_mp4(tmp_path / "a.mp4", frames(8, 8), 80)
