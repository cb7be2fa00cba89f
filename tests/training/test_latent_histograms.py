"""Counts and moments of latents against numpy, on all elements at once."""

import math

import numpy as np
import pytest
import torch

from glow_pipeline.training.latent_histograms import N_BINS, REACH, LatentCounter, LatentHistogram
from tests.fake_gpu import CUDA, fake_gpu


def counted(*batches: torch.Tensor) -> LatentHistogram:
    counter = LatentCounter(torch.device("cpu"))
    for batch in batches:
        counter.add(batch)
    return counter.histogram()


def normal(n: int, sd: float = 1.0, mean: float = 0.0) -> torch.Tensor:
    return mean + sd * torch.randn(n, 2, 4, 4, generator=torch.Generator().manual_seed(n))


def test_counts_and_moments_are_those_of_numpy() -> None:
    batches = [normal(7), normal(50, 3.0, 0.5), normal(1)]
    found = counted(*batches)
    values = torch.cat(batches).numpy().astype(np.float64).ravel()
    expected, edges = np.histogram(values, bins=N_BINS, range=(-REACH, REACH))
    assert LatentHistogram.edges().tolist() == edges.tolist()
    assert np.abs(found.counts - expected).sum() <= 2, "an element on an edge may be in either bin"
    assert (found.below, found.above) == (int((values < -REACH).sum()), int((values >= REACH).sum()))
    assert min(found.below, found.above) > 0
    assert found.n == len(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.sd == pytest.approx(values.std())
    assert found.kurtosis == pytest.approx((((values - values.mean()) / values.std()) ** 4).mean())


def test_normal_latents_have_moments_of_the_normal() -> None:
    found = counted(normal(4000))
    assert found.mean == pytest.approx(0, abs=0.01)
    assert found.sd == pytest.approx(1, abs=0.01)
    assert found.kurtosis == pytest.approx(3, abs=0.05)


def test_elements_that_are_not_finite_are_counted_apart() -> None:
    batch = torch.tensor([math.nan, math.inf, -math.inf, 1.0, -1.0]).view(1, 5, 1, 1)
    found = counted(batch)
    assert (found.not_finite, found.n, found.below, found.above) == (3, 2, 0, 0)
    assert (found.mean, found.sd, found.kurtosis) == (0.0, 1.0, 1.0)


def test_latents_without_an_element_have_no_moments() -> None:
    found = counted(torch.full((2, 1, 2, 2), math.nan))
    assert (found.n, found.not_finite) == (0, 8)
    assert all(math.isnan(value) for value in (found.mean, found.sd, found.kurtosis))


def test_huge_elements_are_beyond_and_keep_moments_finite() -> None:
    found = counted(torch.tensor([1e30, -1e30, 0.0, 0.0]).view(1, 4, 1, 1))
    assert (found.below, found.above) == (1, 1)
    assert math.isfinite(found.sd)
    assert math.isfinite(found.kurtosis)


def test_host_does_not_wait_for_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as waits:
        counter = LatentCounter(torch.device("cuda"))
        with CUDA:
            eps = torch.zeros(4, 2, 4, 4)
        waits.seen.clear()  # those of making the latents
        counter.add(eps)
        counter.add(eps)
        assert not waits.seen
