import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import ledoit_wolf

from glow_pipeline.outliers.densities.density import (
    Density,
    fit_whitening,
    limited,
    log_sum_exp,
    part_of,
    whitened,
    with_prefix,
)
from glow_pipeline.outliers.densities.kernel import KernelDensity
from glow_pipeline.outliers.densities.mixture import ShrunkMixture
from glow_pipeline.outliers.densities.tail import TailedDensity

RANDOM = np.random.default_rng(0)
CORRELATED = RANDOM.standard_normal((400, 4)) @ RANDOM.standard_normal((4, 4)) * [1, 1e-3, 1e3, 1] + [5, 0, 0, -1e3]
every_density = pytest.mark.parametrize(
    "density",
    [ShrunkMixture(), KernelDensity(), TailedDensity(ShrunkMixture()), TailedDensity(KernelDensity())],
    ids=["mixture", "kernel", "tail of mixture", "tail of kernel"],
)


def test_whitening_inverts_the_covariance_of_ledoit_wolf() -> None:
    fitted = fit_whitening(CORRELATED)
    standardised = (CORRELATED - CORRELATED.mean(axis=0)) / CORRELATED.std(axis=0)
    covariance, _ = ledoit_wolf(standardised)
    white = whitened(fitted, CORRELATED)
    # Squared lengths are Mahalanobis distances, whatever rotation whitens.
    expected = [row @ np.linalg.inv(covariance) @ row for row in standardised]
    assert np.square(white).sum(axis=1) == pytest.approx(np.array(expected))


def test_numbers_are_limited() -> None:
    got = limited(np.array([1.5, np.nan, np.inf, -np.inf, 1e9, -1e9]))
    assert got.tolist() == [1.5, 1e6, 1e6, -1e6, 1e6, -1e6]


def test_log_sum_exp_is_scipys() -> None:
    values = RANDOM.standard_normal((5, 6)) * 1000
    for axis in (0, 1):
        assert log_sum_exp(values, axis) == pytest.approx(np.logaddexp.reduce(values, axis=axis))


def test_prefixed_parameters_are_found_again() -> None:
    both = with_prefix("a", {"x": CORRELATED}) | with_prefix("ab", {"x": CORRELATED, "y": CORRELATED})
    assert list(part_of(both, "a")) == ["x"]
    assert list(part_of(both, "ab")) == ["x", "y"]


@every_density
def test_far_numbers_are_less_dense(density: Density) -> None:
    fitted = density.fit(CORRELATED, 0)
    near, far, farther = density.score(fitted, CORRELATED.mean(axis=0) + np.outer([0, 10, 100], CORRELATED.std(axis=0)))
    assert near < far < farther


@every_density
def test_fit_is_the_same_for_one_seed(density: Density) -> None:
    first, second = density.fit(CORRELATED, 3), density.fit(CORRELATED.copy(), 3)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in first.values())


@every_density
@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_few_and_constant_images_have_a_density(density: Density, n: int) -> None:
    few = np.column_stack([CORRELATED[:n], np.full(n, 7.0), np.zeros(n)])
    fitted = density.fit(few, 0)
    absurd = np.vstack(
        [few, np.zeros((1, 6)), np.full((1, 6), 1e30), np.full((1, 6), np.nan), np.full((1, 6), -np.inf)]
    )
    got = density.score(fitted, absurd)
    assert got.shape == (n + 4,)
    assert np.isfinite(got).all()
    assert got[-3:].min() >= got[:n].max()


@every_density
def test_scores_do_not_depend_on_company(density: Density) -> None:
    fitted = density.fit(CORRELATED[:300], 0)
    together = density.score(fitted, CORRELATED)
    alone = np.concatenate([density.score(fitted, row[None]) for row in CORRELATED[:9]])
    assert alone == pytest.approx(together[:9], rel=1e-9)
    assert density.score(fitted, CORRELATED[::-1]) == pytest.approx(together[::-1], rel=1e-9)


@every_density
def test_score_is_unchanged_by_units(density: Density) -> None:
    units = np.array([1e-3, 1e2, 1.0, 1e-2])
    got, scaled = (
        density.score(density.fit(numbers[:300], 0), numbers[300:]) for numbers in (CORRELATED, CORRELATED * units)
    )
    assert got == pytest.approx(scaled, rel=1e-3)


def test_one_component_is_a_gaussian() -> None:
    fitted = ShrunkMixture(components=1).fit(CORRELATED, 0)
    white = whitened(fitted, CORRELATED)
    covariance = np.cov(white.T, bias=True)
    share = 400 / (400 + 2 * 4)
    shrunk = share * covariance + (1 - share) * (covariance + 1e-3 * np.eye(4)) + 1e-3 * np.eye(4)
    expected = -stats.multivariate_normal(white.mean(axis=0), shrunk).logpdf(white)
    got = ShrunkMixture(components=1).score(fitted, CORRELATED)
    assert got - expected == pytest.approx(np.full(400, got[0] - expected[0]), abs=1e-8)


def test_kernel_density_is_scipys_with_scotts_bandwidth() -> None:
    fitted = KernelDensity().fit(CORRELATED, 0)
    white = whitened(fitted, CORRELATED)
    kernels = [stats.multivariate_normal(point, 400 ** (-2 / 8) * np.eye(4)) for point in white]
    expected = -np.log(np.mean([kernel.pdf(white) for kernel in kernels], axis=0))
    got = KernelDensity().score(fitted, CORRELATED)
    assert got - expected == pytest.approx(np.full(400, got[0] - expected[0]), abs=1e-8)
