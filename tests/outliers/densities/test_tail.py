import math

import numpy as np
import pytest

from glow_pipeline.outliers.densities.kernel import KernelDensity
from glow_pipeline.outliers.densities.tail import TailedDensity, fit_tail, tail

REFERENCE = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))


def test_tail_counts_up_to_the_threshold() -> None:
    fitted = fit_tail(REFERENCE)
    values = np.array([-5.0, 1.0, 50.0, 50.5, 90.0])
    expected = [-math.log((1 + sum(value <= REFERENCE)) / 101) for value in values]
    assert tail(fitted, values) == pytest.approx(np.array(expected))


def test_tail_is_exponential_beyond_the_threshold() -> None:
    fitted = fit_tail(REFERENCE)
    threshold = np.percentile(REFERENCE, 90)
    excess = np.mean([value - threshold for value in REFERENCE if value > threshold])
    values = np.array([95.0, 100.0, 1e6])
    expected = -math.log(11 / 101) + (values - threshold) / excess
    assert tail(fitted, values) == pytest.approx(expected)


def test_tail_rises() -> None:
    got = tail(fit_tail(REFERENCE), np.linspace(-10, 200, 1000))
    assert (np.diff(got) >= 0).all()
    assert tail(fit_tail(REFERENCE), np.array([np.nan, np.inf, 1e300])).tolist() == [1e30, 1e30, 1e30]


@pytest.mark.parametrize("reference", [np.ones(1), np.ones(20), np.array([1.0, 2.0])])
def test_tail_of_equal_or_few_values_is_finite(reference: np.ndarray) -> None:
    got = tail(fit_tail(reference), np.array([0.0, 1.0, 2.0, 1e30]))
    assert np.isfinite(got).all()


def test_reference_is_of_images_left_out() -> None:
    numbers = np.random.default_rng(0).standard_normal((60, 2))
    tailed = TailedDensity(KernelDensity())
    fitted = tailed.fit(numbers, 0)
    within = KernelDensity().score(KernelDensity().fit(numbers, 0), numbers)
    assert len(fitted["reference"]) == 60
    assert fitted["reference"].mean() > within.mean()
    # Each value is that of an image under the density of at most 4/5 of the others.
    assert not np.isclose(np.sort(within), fitted["reference"]).any()


def test_new_images_have_uniform_tails() -> None:
    random = np.random.default_rng(0)
    tailed = TailedDensity(KernelDensity())
    got = np.exp(-tailed.score(tailed.fit(random.standard_normal((500, 2)), 0), random.standard_normal((2000, 2))))
    shares = {level: (got <= level).mean() for level in (0.5, 0.2, 0.1)}
    assert shares == pytest.approx({level: level for level in shares}, abs=0.06)
