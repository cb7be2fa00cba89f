"""Images that a model draws, as pictures and as an array."""

import io

import numpy as np
from PIL import Image

from glow_pipeline.api.images import GAP, GREY, Images

COLOUR = np.arange(5 * 2 * 3 * 3, dtype=np.uint8).reshape(5, 2, 3, 3)


def test_images_are_pictures_and_one_array() -> None:
    for array in (COLOUR, COLOUR[..., 0]):
        images = Images(array)
        assert len(images) == 5
        assert np.array_equal(np.asarray(images), array)
        assert np.array_equal(np.asarray(images[-1]), array[-1])
        assert np.array_equal(images[1:3].array, array[1:3])
        assert all(isinstance(image, Image.Image) for image in images)


def test_slice_keeps_which_images_are_broken() -> None:
    images = Images(COLOUR, np.array([True, False, False, True, False]))
    assert images[2:].broken.tolist() == [False, True, False]
    assert repr(images) == "Images(5 of 3x2, colour, 2 broken)"


def test_mask_chooses_images() -> None:
    images = Images(COLOUR, np.array([True, False, False, True, False]))
    whole = images[~images.broken]
    assert np.array_equal(whole.array, COLOUR[[1, 2, 4]])
    assert not whole.broken.any()
    assert np.array_equal(images[np.array([4, 0])].array, COLOUR[[4, 0]])


def test_sheet_has_every_image_in_its_place() -> None:
    images = Images(COLOUR[..., 0])  # 3 columns and 2 rows of 3x2 pixels
    sheet = np.asarray(images.sheet())
    factor = sheet.shape[1] // (3 * (3 + GAP) + GAP)
    small = sheet[::factor, ::factor]
    assert small.shape == (2 * (2 + GAP) + GAP, 3 * (3 + GAP) + GAP)
    assert np.array_equal(small[4:6, 5:8], COLOUR[4, ..., 0])
    assert (small[4:6, 9:12] == GREY).all()  # there is no sixth image


def test_notebook_shows_the_sheet() -> None:
    images = Images(COLOUR)
    with Image.open(io.BytesIO(images._repr_png_())) as shown:
        assert np.array_equal(np.asarray(shown), np.asarray(images.sheet()))
