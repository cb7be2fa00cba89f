"""Goals: how far each preset is from the bits per dimension that it should reach, and what the rest would take."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from results.pages import table
from results.rows import Row, Rows

GOALS = {"mnist": (1.05, [1, 28, 28]), "fashionmnist": (2.9, [1, 28, 28]), "cifar10": (3.45, [3, 32, 32])}
FAR = 100_000  # epochs, beyond which the extrapolation says nothing
FIRST = 3  # epoch from which the curve is fitted: before it the learning rate rises and the average lags
ENOUGH = 6  # points that the fit of three numbers needs
COLUMNS = ("preset", "goal", "reached", "fitted to the epochs", "epochs to the goal, by that curve")
Values = NDArray[np.float64]


def blocks(rows: Rows) -> dict[str, str]:
    """Return the goals of the presets that have been trained, and of the others."""
    goals = (
        (f"`{preset}`", f"{goal:.2f}", *_cells(goal, shape, rows.get(preset)))
        for preset, (goal, shape) in GOALS.items()
    )
    return {"goals": table(COLUMNS, goals)}


def _cells(goal: float, shape: list[int], row: Row | None) -> tuple[str, str, str]:
    """Return what a preset has reached, the fitted curve, and what is left."""
    if row is None:
        return "not trained yet", "", ""
    if list(row["shape"]) != shape or row["n_bits"] != 8:
        return "trained with other images", "", ""
    reached = row["test_bits_per_dim"]
    if reached <= goal:
        return f"{reached:.3f}, met", "", ""
    fitted = fit([point[0] for point in row["curve"]], [point[3] for point in row["curve"]])
    if fitted is None:
        return f"{reached:.3f}", "too few epochs", ""
    limit, size, power = fitted
    curve = f"{limit:.2f} + {size:.2f} / epoch^{power:.2f}"
    if goal <= limit or (size / (goal - limit)) > FAR**power:
        return f"{reached:.3f}", curve, "it never gets there"
    epochs = (size / (goal - limit)) ** (1 / power)
    trained, _, seconds, _ = row["curve"][-1]
    if epochs <= trained:
        return f"{reached:.3f}", curve, "validation images are there already"
    return f"{reached:.3f}", curve, f"{epochs:,.0f}: {seconds / trained * epochs / 3600:,.0f} h"


def fit(epochs: Any, bits_per_dim: Any) -> tuple[float, float, float] | None:
    """Fit `limit + size / epoch ** power` to a curve from epoch FIRST on; None: it has too few points, or does not fit.

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
    try:
        limit, size, power = curve_fit(curve, x, y, p0=start, bounds=bounds)[0]
    except RuntimeError:  # no convergence
        return None
    return float(limit), float(size), float(power)
