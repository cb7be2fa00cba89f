"""Changes of single images: their size, and what each does to pixels that are known."""

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.outliers.benchmark.image_changes import CHANGES

RANDOM_PIXELS = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)


def changed(name: str, pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.asarray(CHANGES[name].apply(Image.fromarray(pixels), np.random.default_rng(seed)))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("pixels", [RANDOM_PIXELS, RANDOM_PIXELS[:, :, 0], RANDOM_PIXELS[:2, :2, 0]])
def test_change_keeps_size_and_differs(name: str, pixels: np.ndarray) -> None:
    once, again = changed(name, pixels), changed(name, pixels)
    assert once.shape == pixels.shape
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    if pixels.shape[0] > 2:
        assert not np.array_equal(once, pixels)


def test_simple_changes_move_known_pixels() -> None:
    grey = RANDOM_PIXELS[:8, :8, 0]
    assert np.array_equal(changed("inverted", grey), 255 - grey)
    assert np.array_equal(changed("rotated_90", grey), np.rot90(grey))
    assert np.array_equal(changed("rotated_180", grey), grey[::-1, ::-1])
    assert np.array_equal(changed("mirrored", grey), grey[:, ::-1])
    assert np.array_equal(changed("quantised", grey), grey & 0b11100000)
    means = np.rint(grey.reshape(4, 2, 4, 2).mean(axis=(1, 3))).repeat(2, axis=0).repeat(2, axis=1)
    assert abs(changed("pixelated", grey) - means).max() <= 1


def test_shuffled_tiles_are_the_images_own() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)

    def tiles(pixels: np.ndarray) -> list[bytes]:
        return sorted(part.tobytes() for band in np.split(pixels, 4) for part in np.split(band, 4, axis=1))

    assert tiles(changed("shuffled", grey)) == tiles(grey)


def test_patch_covers_a_square_of_one_level() -> None:
    grey = np.full((16, 16), 7, dtype=np.uint8)
    rows, columns = np.nonzero(changed("patch", grey) != 7)
    assert len(rows) == 16
    assert np.ptp(rows) == np.ptp(columns) == 3


def test_controls_keep_nothing_of_the_image() -> None:
    black, white = np.zeros((8, 8), dtype=np.uint8), np.full((8, 8), 255, dtype=np.uint8)
    for name in ("constant", "noise"):
        assert CHANGES[name].is_control
        assert np.array_equal(changed(name, black), changed(name, white))
    assert np.ptp(changed("constant", black)) == 0
    assert len(np.unique(changed("noise", black))) > 32
