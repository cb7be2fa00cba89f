from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.statistics.pixels import brightness, colourfulness, contrast, smoothness
from tests.conftest import jittered_glow, random_images


def batch(images: Tensor) -> ModelledBatch:
    flow = jittered_glow()
    with torch.no_grad():
        return ModelledBatch(flow, images, torch.zeros(len(images)), torch.zeros(images.shape), traces=True)


@pytest.fixture
def images() -> Tensor:
    return random_images(5) >> 4


def displayed(images: Tensor) -> np.ndarray:
    return jittered_glow().dequantization.expand(images).numpy().astype(np.float64)


@pytest.mark.parametrize(("statistic", "expected"), [(brightness, np.mean), (contrast, np.std)])
def test_brightness_and_contrast_are_mean_and_spread(
    images: Tensor, statistic: Callable[[ModelledBatch], Tensor], expected: Callable[[np.ndarray], float]
) -> None:
    by_hand = [expected(image) for image in displayed(images)]
    assert statistic(batch(images)).numpy() == pytest.approx(by_hand, rel=1e-12)


def test_smoothness_is_the_correlation_of_neighbours(images: Tensor) -> None:
    for row, image in zip(smoothness(batch(images)), displayed(images), strict=True):
        for level, found in enumerate(row):
            k = 2**level
            c, h, w = image.shape
            blocks = image.reshape(c, h // k, k, w // k, k).mean(axis=(2, 4))
            z = (blocks - blocks.mean()) / blocks.std()
            products = [*(z[:, :, 1:] * z[:, :, :-1]).flat, *(z[:, 1:] * z[:, :-1]).flat]
            assert float(found) == pytest.approx(np.mean(products), abs=1e-9)


def test_constant_image_is_smooth(images: Tensor) -> None:
    assert smoothness(batch(torch.full_like(images, 3))).numpy() == pytest.approx(1)


def test_colourfulness_of_grey_is_zero() -> None:
    flow = jittered_glow()
    grey = torch.full((2, 3, 8, 8), 5, dtype=torch.uint8)
    red = grey.clone()
    red[1, 0] = 15
    found = colourfulness(ModelledBatch(flow, red, torch.zeros(2), torch.zeros(red.shape)))
    level = float(flow.dequantization.expand(torch.full((1,), 15, dtype=torch.uint8))) - float(
        flow.dequantization.expand(torch.full((1,), 5, dtype=torch.uint8))
    )
    # All pixels are one colour: R - G = d and (R + G) / 2 - B = d / 2, without spread.
    assert found.tolist() == pytest.approx([0, 0.3 * level * np.hypot(1, 0.5)])
