"""Each score against its formula, computed slowly by the plain layers, image by image."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.density_sum import GRID, LEVELS, PLANE, DensitySum
from glow_pipeline.outliers.scores.score import FittedScore
from tests.outliers.scores.test_one_pass_scores import described
from tests.outliers.slow import SlowLevel, Values, slow_bits_per_dim, slow_levels, slow_nll, small_batch

VALIDATION, TEST = small_batch(25, seed=1), small_batch(6, seed=2)


def close(expected: Values) -> Any:
    """Return what equals numbers that float32 computed."""
    return pytest.approx(expected, rel=1e-3, abs=1e-3)


def score_of(name: str) -> Values:
    """Score the test images, after the fit on the validation images."""
    score = SCORES[name]
    if isinstance(score, FittedScore):
        score = score.fit(described(score, VALIDATION), 0)
    return score.score(described(score, TEST))


def levels(batch: ModelledBatch = TEST) -> list[list[SlowLevel]]:
    return [slow_levels(batch, i) for i in range(len(batch.images))]


def slow_tail(reference: Values, value: float) -> float:
    """Return -log of the share above, by counting below the 90% quantile and by an exponential above."""
    threshold = np.quantile(reference, 0.9)
    count = sum(1 for each in reference if each >= min(value, threshold))
    above = [each - threshold for each in reference if each > threshold]
    return -math.log((1 + count) / (1 + len(reference))) + max(value - threshold, 0) / float(np.mean(above))


def test_nll() -> None:
    assert score_of("nll") == close(slow_nll(TEST))


def test_typicality() -> None:
    expected = [abs(value - slow_nll(VALIDATION).mean()) for value in slow_nll(TEST)]
    assert score_of("typicality") == close(np.array(expected))


def test_complexity() -> None:
    assert score_of("complexity") == pytest.approx(-slow_bits_per_dim(TEST))


def test_complexity_distance() -> None:
    sizes = sorted(slow_bits_per_dim(VALIDATION))
    low, median, high = (np.percentile(sizes, q) for q in (10, 50, 90))
    expected = [
        (size - median) / (high - median) if size > median else (median - size) / (median - low)
        for size in slow_bits_per_dim(TEST)
    ]
    assert score_of("complexity_distance") == pytest.approx(np.array(expected), rel=1e-6, abs=1e-6)


def test_input_complexity() -> None:
    assert score_of("input_complexity") == close(slow_nll(TEST) - slow_bits_per_dim(TEST))


def test_last_level() -> None:
    expected = [-(image[-1].log_prob + image[-1].logdet) / image[-1].eps.size / math.log(2) for image in levels()]
    assert score_of("last_level") == close(np.array(expected))


def test_latent_norm() -> None:
    norms = np.array([[np.sqrt((level.eps**2).sum()) for level in image] for image in levels(VALIDATION)])
    got = [
        math.sqrt(
            np.mean(
                [
                    ((np.sqrt((level.eps**2).sum()) - m) / s) ** 2
                    for level, m, s in zip(image, norms.mean(0), norms.std(0), strict=True)
                ]
            )
        )
        for image in levels()
    ]
    assert score_of("latent_norm") == close(np.array(got))


def slow_gradients(image: list[SlowLevel]) -> list[float]:
    """Return d log N(eps) / d shift and / d log-scale of each channel at 0, by differences."""

    def log_prob(eps: Values, shift: float, log_scale: float) -> float:
        return float(stats.norm(shift, math.exp(log_scale)).logpdf(eps).sum())

    h, gradients = 1e-4, []
    for level in image:
        positions = level.eps[0].size
        by_shift = [(log_prob(c, h, 0) - log_prob(c, -h, 0)) / (2 * h) / math.sqrt(positions) for c in level.eps]
        by_scale = [(log_prob(c, 0, h) - log_prob(c, 0, -h)) / (2 * h) / math.sqrt(2 * positions) for c in level.eps]
        gradients += by_shift + by_scale
    return gradients


def test_fisher_combination() -> None:
    val_nll, val_gradients = slow_nll(VALIDATION), np.array([slow_gradients(image) for image in levels(VALIDATION)])
    information = (val_gradients**2).mean(axis=0)
    val_typicality = np.abs(val_nll - val_nll.mean())
    val_statistic = (val_gradients**2 / information).sum(axis=1)
    expected = []
    for value, image in zip(slow_nll(TEST), levels(), strict=True):
        statistic = sum(g**2 / i for g, i in zip(slow_gradients(image), information, strict=True))
        p_values = slow_tail(val_typicality, abs(value - val_nll.mean())), slow_tail(val_statistic, float(statistic))
        expected.append(2 * sum(p_values))
    assert score_of("fisher_combination") == pytest.approx(np.array(expected), rel=2e-3, abs=2e-3)


def slow_sums(batch: ModelledBatch) -> Values:
    dimensions = 64
    rows = []
    for image in levels(batch):
        latent, logdet = sum(level.log_prob for level in image), sum(level.logdet for level in image)
        rows.append((latent, logdet, latent + logdet - dimensions * math.log(16)))
    return np.array(rows)


def test_density_of_states() -> None:
    validation, test, n = slow_sums(VALIDATION), slow_sums(TEST), 25
    expected = np.zeros(6)
    for j in range(3):
        sd = validation[:, j].std()
        for i in range(6):
            kernels = stats.norm(validation[:, j], sd * n ** (-1 / 5)).pdf(test[i, j])
            expected[i] -= math.log(kernels.mean() * sd)
    got = score_of("density_of_states")
    assert got - got[0] == pytest.approx(expected - expected[0], rel=5e-3, abs=5e-3)


def test_density_of_statistics_describes_all_statistics() -> None:
    score = SCORES["density_of_statistics"]
    numbers = described(score, TEST)
    assert numbers.shape == (6, 10 * 2 + 1)
    assert numbers[:, -1] == pytest.approx(slow_bits_per_dim(TEST))
    assert isinstance(score, FittedScore)
    validation = described(score, VALIDATION)
    fitted = score.fit(validation, 0)
    # One component for 25 images: a Gaussian, and the score is half of a squared Mahalanobis distance and a constant.
    assert fitted.fitted["means"].shape == (1, 21)
    inverse = fitted.fitted["whitener"] @ fitted.fitted["precision_roots"][0]
    squares = [
        float(((row - validation.mean(axis=0)) @ inverse @ inverse.T) @ (row - validation.mean(axis=0)))
        for row in numbers
    ]
    got = fitted.score(numbers)
    assert got - got[0] == pytest.approx(0.5 * (np.array(squares) - squares[0]), rel=1e-6, abs=1e-6)


def slow_description(batch: ModelledBatch) -> dict[str, Values]:
    """Return what the three densities of `density_sum` are fitted to, image by image."""
    grids, kinds = [], []
    bits, nll = slow_bits_per_dim(batch), slow_nll(batch)
    for image, size in zip(levels(batch), bits, strict=True):
        per_level = [(level.log_prob + level.logdet) / level.eps.size for level in image]
        correlations = []
        for level in image:
            c = (level.eps - level.eps.mean()) / level.eps.std()
            correlations.append(((c[:, :, 1:] * c[:, :, :-1]).mean() + (c[:, 1:] * c[:, :-1]).mean()) / 2)
        kinds.append([*per_level, size, *correlations, *(level.eps.mean() for level in image)])
        fine, coarse = (level.log_scale for level in image)
        grids.append([*fine.ravel(), *np.kron(coarse, np.ones((2, 2))).ravel()])
    return {"levels": np.array(kinds), "grid": np.array(grids), "plane": np.column_stack([nll, bits])}


def test_density_sum_describes_levels_grid_and_plane() -> None:
    score = DensitySum()
    expected = slow_description(TEST)
    for part, numbers in score.divided(described(score, TEST)):
        assert numbers == close(expected[part.name]), part.name
    flow_alone = SCORES["density_sum_flow"]
    numbers = described(flow_alone, TEST)
    assert numbers == close(np.column_stack([np.delete(expected["levels"], 2, axis=1), expected["grid"]]))


def test_density_sum_sums_three_tails() -> None:
    validation, test = slow_description(VALIDATION), slow_description(TEST)
    expected = np.zeros(6)
    for part in (LEVELS, GRID, PLANE):
        fitted = part.density.density.fit(validation[part.name], 0)
        values = part.density.density.score(fitted, test[part.name])
        reference = part.density.out_of_fold(validation[part.name], 0)
        expected += [slow_tail(reference, value) for value in values]
    assert score_of("density_sum") == pytest.approx(expected, rel=1e-2)
