"""The test martingale: its mathematics, its false alarms and its power."""

import numpy as np
import pytest
from scipy.integrate import quad

from glow_pipeline.outliers.conformal.martingale import (
    CURVATURES,
    JUMP_RATES,
    N_BETS,
    POWERS,
    SLOPES,
    SMALLEST_P,
    log10_martingale,
)
from glow_pipeline.outliers.conformal.online_p_values import online_p_values
from glow_pipeline.outliers.scores.score import Numbers


def densities(p: float) -> list[float]:
    """Return what the bets pay, one after the other."""
    lines = [1 + slope * (p - 0.5) for slope in SLOPES]
    parabolas = [1 + curvature * (6 * p**2 - 6 * p + 1) for curvature in CURVATURES]
    return [1.0, *lines, *parabolas, *(power * max(p, SMALLEST_P) ** (power - 1) for power in POWERS)]


def money_of(p_values: Numbers, starts: list[int]) -> list[float]:
    """Play as the paper says, bet by bet, for each jump rate and each batch's part of the money apart."""
    money = np.ones(len(p_values))
    for batch, start in enumerate(starts, start=1):
        part = 1 / (batch * (batch + 1))
        for rate in JUMP_RATES:
            stakes = [1 / N_BETS] * N_BETS
            for t in range(start, len(p_values)):
                total = sum(stakes)
                stakes = [(1 - rate) * stake + rate * total / N_BETS for stake in stakes]
                stakes = [stake * pays for stake, pays in zip(stakes, densities(p_values[t]), strict=True)]
                money[t] += part * (sum(stakes) - 1) / len(JUMP_RATES)
    return money.tolist()


def test_money_is_that_of_the_players() -> None:
    p = np.random.default_rng(0).random(150) ** 1.5
    starts = [0, 40, 41, 120]
    np.testing.assert_allclose(10 ** log10_martingale(p, starts), money_of(p, starts), rtol=1e-9)


def test_bets_are_fair() -> None:
    """Each pays 1 on average and never nothing."""
    for bet in range(N_BETS):
        pays = quad(lambda p, bet=bet: densities(p)[bet], 0, 1, points=[1e-9, 1e-6, 1e-3], limit=200)[0]
        assert pays == pytest.approx(1, abs=1e-5)
    assert min(min(densities(p)) for p in np.linspace(0, 1, 101)) >= 0.5


def test_false_alarms_are_below_the_rate() -> None:
    """2,000 streams, each with calibration images of its own, of three batches."""
    random = np.random.default_rng(5)
    p = np.empty((2000, 150))
    for row in p:
        scores = random.standard_normal(50 + len(row))
        row[:] = online_p_values(np.sort(scores[:50]), scores[50:], 1 - random.random(len(row)))
    highest = log10_martingale(p, [0, 50, 100]).max(axis=-1)
    for rate in (0.2, 0.05, 0.01):
        alarms = (highest >= -np.log10(rate)).mean()
        assert alarms <= rate + 2 * np.sqrt(rate * (1 - rate) / len(p))
    assert (highest >= -np.log10(0.2)).mean() > 0.02, "else it bets nothing"


@pytest.mark.parametrize(
    ("kind", "images"),
    [("few foreign", 150), ("higher", 250), ("lower", 250), ("further apart", 400), ("closer together", 400)],
)
def test_changes_are_found(kind: str, images: int) -> None:
    """After 1,000 images without a change, within so many images of a changed kind, in most of 40 streams."""
    random = np.random.default_rng(8)
    p = np.empty((40, 1000 + images))
    for row in p:
        calibration, scores = np.sort(random.standard_normal(600)), random.standard_normal(len(row))
        changed = scores[1000:]
        if kind == "few foreign":
            changed[random.random(images) < 0.1] = 8 + random.random()
        changed *= {"further apart": 1.5, "closer together": 2 / 3}.get(kind, 1)
        changed += {"higher": 0.5, "lower": -0.5}.get(kind, 0)
        row[:] = online_p_values(calibration, scores, 1 - random.random(len(row)))
    logarithms = log10_martingale(p, range(0, p.shape[1], 100))
    assert (logarithms[:, :1000] >= 2).any(axis=1).sum() <= 2
    assert (logarithms >= 2).any(axis=1).sum() >= 30


def test_long_quiet_stream_costs_little() -> None:
    quiet = np.random.default_rng(1).random(20_000)
    logarithms = log10_martingale(np.concatenate([quiet, np.full(200, 1e-3)]), range(0, 20_200, 200))
    assert logarithms[:20_000].min() >= -np.log10(101) - 1e-9
    assert logarithms[-1] > 50


@pytest.mark.parametrize("p", [0.0, 1e-300, 0.5, 1.0])
def test_extreme_streams_stay_finite(p: float) -> None:
    logarithms = log10_martingale(np.full(30_000, p), [0, 10_000, 20_000])
    assert np.isfinite(logarithms).all()
    assert logarithms[-1] > 1000


@pytest.mark.slow  # ten seconds: a million steps, one after the other
def test_million_images_stay_finite() -> None:
    random = np.random.default_rng(4)
    scores = random.standard_normal(1_000_000)
    scores[600_000:] += 3
    p = online_p_values(np.sort(random.standard_normal(6000)), scores, 1 - random.random(len(scores)))
    logarithms = log10_martingale(p, range(0, len(p), 1000))
    assert np.isfinite(logarithms).all()
    assert logarithms[:600_000].max() < 2
    assert logarithms[-1] > 10_000


def test_stream_without_images_has_no_values() -> None:
    assert log10_martingale(np.empty(0), [0]).shape == (0,)
    assert online_p_values(np.zeros(3), np.empty(0), np.empty(0)).shape == (0,)
