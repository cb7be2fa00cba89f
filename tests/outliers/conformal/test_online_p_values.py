"""p-values among the calibration images and all earlier ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glow_pipeline.outliers.conformal.online_p_values import online_p_values
from glow_pipeline.outliers.scores.score import Numbers


def by_brute_force(calibration: Numbers, scores: Numbers, ties: Numbers) -> list[float]:
    """Compute the p-values by their definition."""
    values = []
    for t in range(len(scores)):
        seen = np.concatenate([calibration, scores[: t + 1]])
        higher, equal = (seen > scores[t]).sum(), (seen == scores[t]).sum()
        values.append((higher + ties[t] * equal) / len(seen))
    return values


few = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, 7.25, np.inf]), max_size=40)


@given(few, few)
def test_p_values_follow_their_definition(calibration: list[float], scores: list[float]) -> None:
    ties = 1 - np.random.default_rng(len(scores)).random(len(scores))
    given_scores = np.array(scores, dtype=np.float64)
    p = online_p_values(np.sort(calibration), given_scores, ties)
    np.testing.assert_allclose(p, by_brute_force(np.array(calibration), given_scores, ties), rtol=1e-12)


def test_p_values_are_uniform_and_independent() -> None:
    """Of 3,000 short streams with many ties: each p-value's distribution, and correlations between them."""
    random = np.random.default_rng(2)
    n, length = 9, 5
    scores = np.round(random.standard_normal((3000, n + length)), 1)
    p = np.array([online_p_values(np.sort(row[:n]), row[n:], 1 - random.random(length)) for row in scores])
    for t in range(length):
        assert stats.kstest(p[:, t], "uniform").pvalue > 0.01
    correlation = np.corrcoef(p.T)[np.triu_indices(length, 1)]
    assert np.abs(correlation).max() < 3.5 / np.sqrt(len(p))
    # All cells of a grid over two p-values are equally likely, which no correlation says.
    cells = np.histogram2d(p[:, 0], p[:, 1], bins=4, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 0.01


def test_p_values_of_calibration_alone_are_dependent() -> None:
    """The control: the mean of a hundred of them varies more than that of independent ones."""
    random = np.random.default_rng(3)
    online, fixed = [], []
    for _ in range(300):
        calibration, scores = np.sort(random.standard_normal(20)), random.standard_normal(100)
        online.append(online_p_values(calibration, scores, 1 - random.random(100)).mean())
        fixed.append((1 - np.searchsorted(calibration, scores) / 20).mean())
    independent = np.sqrt(1 / 12 / 100)
    assert 0.85 < np.std(online) / independent < 1.15
    assert np.std(fixed) / independent > 2
