import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from glow_pipeline.outliers.densities.density import whitened
from glow_pipeline.outliers.densities.mixture import ShrunkMixture

CLUSTERS = np.random.default_rng(0).standard_normal((300, 3)) + np.repeat(np.eye(3) * 20, 100, axis=0)


def test_mixture_is_the_written_formula() -> None:
    fitted = ShrunkMixture(components=3).fit(CLUSTERS, 5)
    x, d = whitened(fitted, CLUSTERS), 3
    em = GaussianMixture(3, covariance_type="tied", reg_covar=1e-3, max_iter=200, random_state=5).fit(x)
    responsibilities = em.predict_proba(x)
    density = np.zeros(len(x))
    for k in range(3):
        n_k = responsibilities[:, k].sum()
        own = (
            sum(
                r * np.outer(row - em.means_[k], row - em.means_[k])
                for r, row in zip(responsibilities[:, k], x, strict=True)
            )
            / n_k
        )
        share = n_k / (n_k + 2 * d)
        covariance = share * own + (1 - share) * em.covariances_ + 1e-3 * np.eye(d)
        density += n_k / len(x) * stats.multivariate_normal(em.means_[k], covariance).pdf(x)
    got = ShrunkMixture(components=3).score(fitted, CLUSTERS)
    expected = -np.log(density)
    assert got - expected == pytest.approx(np.full(len(x), got[0] - expected[0]), abs=1e-8)


def test_components_are_limited_by_images() -> None:
    counts = {n: len(ShrunkMixture().fit(CLUSTERS[:n], 0)["means"]) for n in (3, 11, 12, 59, 300)}
    assert counts == {3: 1, 11: 1, 12: 2, 59: 9, 300: 10}


def test_equal_images_make_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    ShrunkMixture().fit(np.repeat(CLUSTERS[:4], 30, axis=0), 0)
    assert len(recwarn) == 0


def test_clusters_have_gaps_between_them() -> None:
    fitted = ShrunkMixture().fit(CLUSTERS, 0)
    within, between = ShrunkMixture().score(fitted, np.array([[20.0, 0, 0], [20 / 3, 20 / 3, 20 / 3]]))
    assert between > within + 10
