"""Animations as MP4, written by imageio-ffmpeg where it is installed."""

from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np

from glow_pipeline.plots.movie import Frame

QUALITY = 8  # of 10: edges of single pixels stay sharp


class Mp4UnavailableError(Exception):
    """No MP4 can be written here; the message says why."""


def write_mp4(path: Path, frames: Sequence[Frame], milliseconds: int) -> None:
    """Write an H.264 video in yuv420p, which browsers play.

    Its sides are even, as that format needs: an odd one repeats its last row or column of pixels.

    Args:
        path: ends in `.mp4`.
        frames: at least one; all of one size.
        milliseconds: how long each is shown.

    Raises:
        Mp4UnavailableError: imageio-ffmpeg is not installed, or has no program that encodes H.264.
        OSError: the file is incomplete.
    """
    try:
        import imageio_ffmpeg  # an optional extra
    except ImportError:
        raise Mp4UnavailableError("imageio-ffmpeg is not installed; `pip install imageio-ffmpeg` adds it") from None
    height, width, _ = frames[0].shape
    size = width + width % 2, height + height % 2
    video = imageio_ffmpeg.write_frames(
        path,
        size,
        fps=Fraction(1000, milliseconds),
        quality=QUALITY,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart"],
    )
    with closing(video):
        try:
            video.send(None)  # starts ffmpeg, which may be missing or encode no H.264
        except (RuntimeError, OSError) as reason:
            raise Mp4UnavailableError(str(reason)) from None
        for frame in frames:
            video.send(np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").tobytes())
    written, _ = imageio_ffmpeg.count_frames_and_secs(path)  # ffmpeg's exit code is not reported
    if written != len(frames):
        raise OSError(f"{path}: ffmpeg wrote {written} of {len(frames)} frames")
