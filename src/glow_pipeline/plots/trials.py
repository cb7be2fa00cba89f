"""The course of a search."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def search_history(states: Sequence[str], values: Sequence[float], title: str) -> Figure:
    """Each trial's bits per dimension, what became of it, and the best so far.

    Args:
        states: of the trials in the order of their numbers; those other than complete and pruned are left out.
        values: validation bits per dimension; infinite if the training diverged, NaN if there is none.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    trials = list(enumerate(zip(states, values, strict=True)))
    for state, marker in (("complete", "o"), ("pruned", "x")):
        shown = [(number, value) for number, (was, value) in trials if was == state and math.isfinite(value)]
        axes.plot([number for number, _ in shown], [value for _, value in shown], marker, label=state)
    complete = [(number, value) for number, (state, value) in trials if state == "complete"]
    diverged = [number for number, value in complete if math.isinf(value)]
    if diverged:
        axes.plot(diverged, [0.98] * len(diverged), "^", transform=axes.get_xaxis_transform(), label="diverged")
    best = [min(value for _, value in complete[: done + 1]) for done in range(len(complete))]
    steps = [(number, value) for (number, _), value in zip(complete, best, strict=True) if math.isfinite(value)]
    axes.step([n for n, _ in steps], [v for _, v in steps], where="post", color="grey", label="best so far")
    axes.set(xlabel="trial", ylabel="validation bits per dimension", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure
