import pytest
import torch

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.folding.factors import factors_of
from glow_pipeline.flow.fast.folding.prepared import prepare


@pytest.mark.parametrize("channels", [1, 3])
def test_biases_of_all_steps_are_aligned(channels: int) -> None:
    """So that compiled kernels read those of each step in place, 16 bytes at once."""
    model = Glow((channels, 8, 8), 5, 2, 16)
    for level in model._levels:
        factors = factors_of(prepare(level._steps, torch.bfloat16).stacked)
        for bias in (factors.bias1, factors.bias2, factors.bias3):
            assert [factor.storage_offset() * factor.element_size() % 16 for factor in bias] == [0] * 5
