from typing import Any

import numpy as np
import pytest
import torch

from glow_pipeline.outliers.heat_maps.position_nll import position_nll
from tests.conftest import jittered_glow, random_images
from tests.outliers.slow import modelled, slow_levels, small_batch

FLOWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "colour, three levels": {"channels": 3, "size": 16, "L": 3},
    "learned top": {"learn_top": True},
    "classes": {"y_condition": True, "num_classes": 3},
    "additive": {"flow_coupling": "additive"},
    "one level": {"L": 1},
}


@pytest.mark.parametrize("options", FLOWS.values(), ids=FLOWS.keys())
@torch.no_grad()
def test_pixels_sum_to_the_likelihood(options: dict[str, Any]) -> None:
    batch = small_batch(4, **options)
    assert position_nll(batch).sum(dim=(1, 2)) == pytest.approx(-batch.log_prob, rel=1e-6)


@torch.no_grad()
def test_plain_layers_sum_to_the_likelihood() -> None:
    batch = small_batch(4)
    batch.model.execution = None
    assert position_nll(batch).sum(dim=(1, 2)) == pytest.approx(-batch.log_prob, rel=1e-6)


@torch.no_grad()
def test_map_agrees_with_plain_computation() -> None:
    """Differences of pixels come from latents and log-scales alone; the rest is even."""
    batch = small_batch(2, size=16, L=3)
    maps = position_nll(batch).numpy()
    for i in range(2):
        placed = np.zeros((16, 16))
        for number, level in enumerate(slow_levels(batch, i), 1):
            values = 0.5 * (level.eps**2).sum(axis=0) - level.log_scale
            placed += np.kron(values, np.ones((2**number, 2**number))) / 4**number
        assert maps[i] - maps[i].mean() == pytest.approx(placed - placed.mean(), rel=1e-4, abs=1e-5)


@torch.no_grad()
def test_sum_holds_for_oblong_images() -> None:
    images = random_images(3, size=(8, 16)) >> 4
    batch = modelled(jittered_glow(image_shape=(1, 8, 16)), images)
    maps = position_nll(batch)
    assert maps.shape == (3, 8, 16)
    assert maps.sum(dim=(1, 2)) == pytest.approx(-batch.log_prob, rel=1e-6)
