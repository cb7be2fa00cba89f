import pytest
import torch

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.statistics.quarters import nll_of_quarters
from tests.conftest import jittered_glow, random_images


@pytest.fixture
def traced() -> ModelledBatch:
    images = random_images(4) >> 4
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    return ModelledBatch(jittered_glow(), images, torch.zeros(4), noise, traces=True)


def test_quarters_average_to_the_nll(traced: ModelledBatch) -> None:
    with torch.no_grad():
        expected = -traced.log_prob / traced.images[0, 0].numel()
        assert nll_of_quarters(traced).mean(dim=1) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("quarter", range(4))
def test_noise_in_a_quarter_raises_its_nll_most(quarter: int) -> None:
    images = torch.full((2, *random_images(1).shape[1:]), 7, dtype=torch.uint8)
    half = images.shape[2] // 2
    rows, columns = slice(quarter // 2 * half, None), slice(quarter % 2 * half, None)
    images[1, :, rows, columns][:, :half, :half] = random_images(1)[0][:, :half, :half] >> 4
    batch = ModelledBatch(jittered_glow(), images, torch.zeros(2), torch.full(images.shape, 0.5), traces=True)
    with torch.no_grad():
        plain, noisy = nll_of_quarters(batch)
    assert int((noisy - plain).argmax()) == quarter
