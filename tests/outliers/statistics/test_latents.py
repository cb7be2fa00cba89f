import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.statistics import latents
from tests.outliers.slow import Values, modelled, slow_levels, small_batch


def slow_autocorrelation(eps: Values, axis: int) -> float:
    """Return the mean over all pairs of neighbours along an axis of (C, H, W), element by element."""
    c = (eps - eps.mean()) / eps.std()
    products = []
    for at in np.ndindex(*c.shape):
        following = list(at)
        following[axis] += 1
        if following[axis] < c.shape[axis]:
            products.append(c[at] * c[tuple(following)])
    return float(np.mean(products)) if products else 0.0


SLOW = {
    "latent_log_prob": lambda level: level.log_prob / level.eps.size,
    "log_determinant": lambda level: level.logdet / level.eps.size,
    "norm": lambda level: float(np.linalg.norm(level.eps.ravel())),
    "mean": lambda level: level.eps.mean(),
    "variance": lambda level: level.eps.var(),
    "kurtosis": lambda level: stats.kurtosis(level.eps.ravel(), fisher=False),
    "normal_distance": lambda level: stats.kstest(level.eps.ravel(), "norm").statistic,
    "horizontal_autocorrelation": lambda level: slow_autocorrelation(level.eps, 2),
    "vertical_autocorrelation": lambda level: slow_autocorrelation(level.eps, 1),
    "channel_autocorrelation": lambda level: slow_autocorrelation(level.eps, 0),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("levels", [2, 3], ids=["levels of 4x4, 2x2", "a last level of 1x1"])
def test_statistics_follow_their_definitions(channels: int, levels: int) -> None:
    batch = small_batch(3, channels, L=levels)
    assert latents.LATENT_STATISTICS.keys() == SLOW.keys()
    for name, statistic in latents.LATENT_STATISTICS.items():
        got = batch.once(statistic)
        expected = [[SLOW[name](level) for level in slow_levels(batch, i)] for i in range(3)]
        assert got.dtype == torch.float64
        assert got.numpy() == pytest.approx(np.array(expected), rel=1e-4, abs=1e-4), name


def test_combined_statistics_are_sums() -> None:
    batch = small_batch()
    torch.testing.assert_close(
        latents.level_log_prob(batch), latents.latent_log_prob(batch) + latents.log_determinant(batch)
    )
    both = latents.horizontal_autocorrelation(batch) + latents.vertical_autocorrelation(batch)
    torch.testing.assert_close(latents.autocorrelation(batch), both / 2)


def everything(batch: ModelledBatch) -> Tensor:
    return torch.cat([statistic(batch) for statistic in latents.LATENT_STATISTICS.values()], dim=1)


def test_statistics_do_not_depend_on_the_batch() -> None:
    batch = small_batch()
    alone = [
        everything(ModelledBatch(batch.model, images, batch.labels[:1], noise, traces=True))
        for images, noise in zip(batch.images.split(1), batch.noise.split(1), strict=True)
    ]
    torch.testing.assert_close(torch.cat(alone), everything(batch), rtol=1e-5, atol=1e-5)


def test_constant_latent_has_no_nan() -> None:
    batch = small_batch(1, L=1)
    batch.levels[0].eps.zero_()
    assert everything(batch).isfinite().all()
    assert latents.autocorrelation(batch).item() == 0


def test_statistics_of_independent_gaussians_are_those_of_theory() -> None:
    batch = modelled(small_batch(L=1, size=64, n=1).model, torch.zeros(1, 1, 64, 64, dtype=torch.uint8))
    batch.levels[0].eps.copy_(torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)))
    expected = {"mean": 0, "variance": 1, "kurtosis": 3, "norm": 64, "normal_distance": 0, "channel_autocorrelation": 0}
    for name, value in expected.items():
        assert latents.LATENT_STATISTICS[name](batch).item() == pytest.approx(value, rel=0.1, abs=0.05), name
