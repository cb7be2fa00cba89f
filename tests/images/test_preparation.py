import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from glow_pipeline.images.format import Fit, ImageFormat
from glow_pipeline.images.preparation import prepare
from tests.conftest import random_images


def image_format(channels: int, size: tuple[int, int], n_bits: int = 8, fit: Fit = "resize") -> ImageFormat:
    return ImageFormat(channels=channels, height=size[0], width=size[1], n_bits=n_bits, fit=fit)


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
# A flow halves its images at least once.
wanted = st.tuples(st.integers(2, 40), st.integers(2, 40))


def test_images_in_the_format_stay_unchanged() -> None:
    images = random_images(5, 3, (6, 4))
    for fit in ("resize", "pad"):
        assert torch.equal(prepare(images, image_format(3, (6, 4), fit=fit)), images)


def test_grey_becomes_rgb_by_repetition() -> None:
    grey = random_images(4, 1)
    rgb = prepare(grey, image_format(3, (8, 8)))
    assert rgb.shape == (4, 3, 8, 8)
    for channel in range(3):
        assert torch.equal(rgb[:, channel], grey[:, 0])


def test_rgb_becomes_grey_by_itu_r_601_luma() -> None:
    rgb = random_images(4, 3, (16, 16))
    red, green, blue = rgb.numpy().astype(np.float64).transpose(1, 0, 2, 3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    grey = prepare(rgb, image_format(1, (16, 16)))
    assert grey.shape == (4, 1, 16, 16)
    assert np.abs(grey[:, 0].numpy() - luma).max() <= 0.5 + 1e-4


def test_grey_is_as_pillow_computes_it() -> None:
    rgb = random_images(1, 3, (32, 32))
    pillow = np.array(Image.fromarray(rgb[0].permute(1, 2, 0).numpy()).convert("L"), dtype=int)
    assert np.abs(prepare(rgb, image_format(1, (32, 32)))[0, 0].numpy() - pillow).max() <= 1


def test_a_colourless_rgb_image_keeps_its_grey_levels() -> None:
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(prepare(grey.repeat(1, 3, 1, 1), image_format(1, (16, 16))), grey)


@given(sizes, wanted, st.sampled_from([1, 3]))
def test_resize_is_the_antialiased_bilinear_resize_of_pillow(
    given_size: tuple[int, int], size: tuple[int, int], channels: int
) -> None:
    image = random_images(1, channels, given_size)
    resized = prepare(image, image_format(channels, size))[0]
    height, width = size
    for channel in range(channels):
        pillow = Image.fromarray(image[0, channel].numpy()).resize((width, height), Image.Resampling.BILINEAR)
        assert np.abs(resized[channel].numpy().astype(int) - np.array(pillow, dtype=int)).max() <= 2


def test_halving_by_resize_has_no_aliases() -> None:
    # Columns black, white, black, white: a filter that skips pixels would return all black or all white.
    stripes = torch.tensor([0, 255], dtype=torch.uint8).repeat(16).expand(1, 1, 32, 32).contiguous()
    inner = prepare(stripes, image_format(1, (16, 16)))[0, 0, :, 2:-2].float()
    assert inner.min() > 90
    assert inner.max() < 165


@given(sizes, sizes)
def test_pad_centres_a_small_image_unchanged(given_size: tuple[int, int], more: tuple[int, int]) -> None:
    image = random_images(1, 1, given_size)
    (h, w), (height, width) = given_size, (given_size[0] + more[0], given_size[1] + more[1])
    expected = np.zeros((height, width), dtype=np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    expected[top : top + h, left : left + w] = image[0, 0].numpy()
    assert np.array_equal(prepare(image, image_format(1, (height, width), fit="pad"))[0, 0].numpy(), expected)


def test_pad_surrounds_an_image_evenly_with_black() -> None:
    white = torch.full((2, 3, 4, 6), 255, dtype=torch.uint8)
    padded = prepare(white, image_format(3, (8, 8), fit="pad"))
    assert padded[:, :, 2:6, 1:7].eq(255).all()
    assert padded.int().sum() == white.int().sum()


@pytest.mark.parametrize(
    ("given_size", "size", "inner"),
    [
        ((20, 40), (16, 16), (8, 16)),
        ((40, 20), (16, 16), (16, 8)),
        ((64, 64), (16, 32), (16, 16)),
        ((8, 64), (16, 16), (2, 16)),  # wider than the requested size, and lower
        ((1, 90), (16, 16), (1, 16)),  # no side falls to 0
    ],
)
def test_pad_shrinks_a_large_image_with_its_aspect(
    given_size: tuple[int, int], size: tuple[int, int], inner: tuple[int, int]
) -> None:
    image = random_images(1, 1, given_size).clamp(min=50)
    padded = prepare(image, image_format(1, size, fit="pad"))[0, 0].numpy()
    (height, width), (h, w) = size, inner
    top, left = (height - h) // 2, (width - w) // 2
    pillow = Image.fromarray(image[0, 0].numpy()).resize((w, h), Image.Resampling.BILINEAR)
    window = padded[top : top + h, left : left + w]
    assert np.abs(window.astype(int) - np.array(pillow, dtype=int)).max() <= 2
    assert np.count_nonzero(padded) == h * w


@given(
    sizes,
    wanted,
    st.sampled_from([1, 3]),
    st.sampled_from([1, 3]),
    st.integers(1, 8),
    st.sampled_from(["resize", "pad"]),
)
def test_any_image_gets_the_format(
    given_size: tuple[int, int], size: tuple[int, int], before: int, after: int, n_bits: int, fit: Fit
) -> None:
    prepared = prepare(random_images(2, before, given_size), image_format(after, size, n_bits, fit))
    assert prepared.shape == (2, after, *size)
    assert prepared.dtype == torch.uint8
    assert prepared.max().item() < 2**n_bits


@pytest.mark.parametrize("n_bits", range(1, 9))
def test_grey_levels_are_reduced_by_equal_bins(n_bits: int) -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    reduced = prepare(levels, image_format(1, (16, 16), n_bits)).flatten().numpy()
    assert np.array_equal(reduced, np.arange(256) * 2**n_bits // 256)
    assert np.all(np.bincount(reduced) == 256 // 2**n_bits)


def test_grey_levels_are_reduced_after_the_resize() -> None:
    images = random_images(3, 1, (12, 12))
    in_full = prepare(images, image_format(1, (7, 7), 8)).numpy()
    assert np.array_equal(prepare(images, image_format(1, (7, 7), 2)).numpy(), in_full >> 6)


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_preparation_is_independent_of_the_chunk(fit: Fit) -> None:
    images = random_images(5, 3, (20, 11))
    together = prepare(images, image_format(1, (8, 8), 5, fit))
    alone = torch.cat([prepare(image[None], image_format(1, (8, 8), 5, fit)) for image in images])
    assert torch.equal(together, alone)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (8, 8), (90, 45)])
@pytest.mark.parametrize("value", [0, 7, 128, 255])
def test_even_grey_image_stays_even(height: int, width: int, value: int) -> None:
    even: Tensor = torch.full((1, 1, height, width), value, dtype=torch.uint8)
    assert prepare(even, image_format(3, (16, 24))).unique().tolist() == [value]
