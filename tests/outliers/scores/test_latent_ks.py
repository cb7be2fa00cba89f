import numpy as np
import pytest
import torch
from scipy.stats import norm

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.latent_ks import BINS, LatentKs
from tests.conftest import jittered_glow, random_images

IMAGES = random_images(9) >> 4
NOISE = torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(1))


def batch() -> ModelledBatch:
    return ModelledBatch(jittered_glow(), IMAGES, torch.zeros(9).long(), NOISE, traces=True)


def test_described_are_shares_of_equally_likely_intervals() -> None:
    got = LatentKs().describe(batch()).numpy().reshape(9, 2, BINS)
    edges = norm.ppf(np.arange(1, BINS) / BINS)
    for level, trace in enumerate(batch().levels):
        for image, eps in enumerate(trace.eps.double().flatten(1).numpy()):
            expected = np.bincount(np.searchsorted(edges, eps, side="right"), minlength=BINS) / len(eps)
            assert got[image, level] == pytest.approx(expected, abs=1e-7)


def test_distance_is_of_distribution_functions_at_the_edges() -> None:
    described = LatentKs().describe(batch()).numpy()
    score = LatentKs().fit(described[:5], 0)
    edges = norm.ppf(np.arange(1, BINS) / BINS)
    for image in range(5, 9):
        distances = []
        for trace in batch().levels:
            eps = trace.eps.double().flatten(1).numpy()
            own, reference = ((values[:, None] < edges).mean(axis=0) for values in (eps[image], eps[:5].ravel()))
            distances.append(abs(own - reference).max())
        assert score.score(described[image : image + 1])[0] == pytest.approx(np.mean(distances), abs=1e-6)


@pytest.mark.parametrize(("value", "finite"), [(torch.nan, False), (torch.inf, True), (-torch.inf, True)])
def test_latents_that_are_not_finite_are_described(value: float, finite: bool) -> None:
    made = batch()
    made.levels[0].eps[2, 0, 0, 0] = value
    described = LatentKs().describe(made).numpy()
    assert np.isfinite(described[2]).all() == finite
    assert np.isfinite(np.delete(described, 2, axis=0)).all()
