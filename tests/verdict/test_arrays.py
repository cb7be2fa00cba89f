from typing import Any

import numpy as np
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.verdict.arrays import images_of_array, one_image

GREY = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
COLOUR = np.arange(4 * 5 * 6 * 3).astype(np.uint8).reshape(4, 5, 6, 3)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
        (torch.from_numpy(COLOUR), COLOUR.transpose(0, 3, 1, 2)),
        (GREY[:3], GREY[:3, None]),
        (GREY[0], GREY[:1, None]),
    ],
)
def test_axes_are_found_by_the_shape(array: Any, expected: np.ndarray) -> None:
    assert np.array_equal(images_of_array(array, channels=1).numpy(), expected)


def test_one_image_has_a_batch_of_its_own() -> None:
    assert np.array_equal(one_image(GREY[0], 1).numpy(), GREY[:1, None])
    assert np.array_equal(one_image(COLOUR[0], 3).numpy(), COLOUR[:1].transpose(0, 3, 1, 2))


def test_one_image_has_two_or_three_axes() -> None:
    for array in (GREY[0, 0], GREY[None]):
        with pytest.raises(GlowPipelineError, match=r"^images: an array of shape .*; expected one image, uint8"):
            one_image(array, 1)


def test_caller_keeps_the_array() -> None:
    frozen = GREY.copy()
    frozen.flags.writeable = False
    images_of_array(frozen, channels=1).zero_()
    assert np.array_equal(frozen, GREY)


@pytest.mark.parametrize(
    ("array", "channels", "expected"),
    [
        (GREY / 255, 1, r"^images: an array of float64; expected uint8 of shape"),
        (GREY.astype(bool), 1, r"^images: an array of bool; expected uint8"),
        (GREY.astype(np.int64), 1, r"^images: an array of int64; expected uint8"),
        (GREY[0, 0], 1, r"^images: an array of shape \(6,\); expected uint8"),
        (np.full((2, 5, 6), np.nan), 1, r"^images: an array of float64 with values that are not numbers or infinite"),
        (GREY[:0], 1, r"^images: an array of shape \(0, 5, 6\) has no pixel"),
        (COLOUR[0], 3, r"^images: shape \(5, 6, 3\) may be one colour image or several grey ones"),
        (COLOUR[0].transpose(2, 0, 1), 3, r"^images: shape \(3, 5, 6\) may be one colour image or several"),
        (np.zeros((2, 5, 6, 4), np.uint8), 3, r"^images: an array of shape \(2, 5, 6, 4\); expected uint8"),
        (np.zeros((2, 3, 6, 3), np.uint8), 3, r"^images: shape \(2, 3, 6, 3\) may have its channels first or last"),
    ],
)
def test_other_arrays_are_refused_in_one_line(array: np.ndarray, channels: int, expected: str) -> None:
    with pytest.raises(GlowPipelineError, match=expected) as refused:
        images_of_array(array, channels)
    assert "\n" not in str(refused.value)
