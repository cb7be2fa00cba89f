"""Goals: how far each preset is from the bits per dimension that it should reach, and what the rest would take."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from results.pages import table
from results.rows import Row, Rows

GOALS = {"mnist": 1.05, "fashionmnist": 2.9, "cifar10": 3.45}  # bits/dim at 28x28, 28x28 and 3x32x32
FIRST = 3  # epoch from which the curve is fitted: before it the learning rate rises and the average lags
ENOUGH = 6  # points that the fit of three numbers needs
COLUMNS = ("preset", "goal", "reached", "fitted to the epochs", "epochs to the goal, by that curve")
Values = NDArray[np.float64]


def blocks(rows: Rows) -> dict[str, str]:
    """Return the goals of the presets that have been trained, and of the others."""
    return {"goals": table(COLUMNS, (_line(preset, goal, rows.get(preset)) for preset, goal in GOALS.items()))}


def _line(preset: str, goal: float, row: Row | None) -> list[str]:
    if row is None:
        return [f"`{preset}`", f"{goal:.2f}", "not trained yet", "", ""]
    reached = row["test_bits_per_dim"]
    if reached <= goal:
        return [f"`{preset}`", f"{goal:.2f}", f"{reached:.3f}, met", "", ""]
    fitted = fit([point[0] for point in row["curve"]], [point[3] for point in row["curve"]])
    if fitted is None:
        return [f"`{preset}`", f"{goal:.2f}", f"{reached:.3f}", "too few epochs", ""]
    limit, size, power = fitted
    curve = f"{limit:.2f} + {size:.2f} / epoch^{power:.2f}"
    if goal <= limit:
        return [f"`{preset}`", f"{goal:.2f}", f"{reached:.3f}", curve, "it never gets there"]
    epochs = (size / (goal - limit)) ** (1 / power)
    seconds = row["curve"][-1][2] / row["curve"][-1][0] * epochs
    return [f"`{preset}`", f"{goal:.2f}", f"{reached:.3f}", curve, f"{epochs:,.0f}: {seconds / 3600:,.0f} h"]


def fit(epochs: Any, bits_per_dim: Any) -> tuple[float, float, float] | None:
    """Fit `limit + size / epoch ** power` to a curve from epoch FIRST on; None: it has too few points.

    Args:
        epochs: counted from 1, increasing.
        bits_per_dim: of the validation images after each.
    """
    x, y = np.asarray(epochs, float), np.asarray(bits_per_dim, float)
    x, y = x[x >= FIRST], y[np.asarray(epochs) >= FIRST]
    if len(x) < ENOUGH:
        return None

    def curve(epoch: Values, limit: float, size: float, power: float) -> Values:
        return limit + size * epoch**-power

    start = (y.min(), max(y[0] - y[-1], 1e-3), 0.5)
    bounds = ((0.0, 0.0, 0.05), (np.inf, np.inf, 3.0))
    limit, size, power = curve_fit(curve, x, y, p0=start, bounds=bounds)[0]
    return float(limit), float(size), float(power)
