"""Figure of a search's trials."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glow_pipeline.plots.axes import LEGEND, set_title, single_axes
from glow_pipeline.plots.style import GREY


def search_history(states: Sequence[str], values: Sequence[float], title: str) -> Figure:
    """Draw each trial's bits per dimension and state, and the best value so far.

    Args:
        states: states of the trials, in the order of their numbers; only complete, pruned and diverged ones are drawn.
        values: validation bits per dimension; NaN for a trial without.
    """
    figure, axes = single_axes(6, 4)
    trials = list(enumerate(zip(states, values, strict=True)))
    for state, marker in (("complete", "o"), ("pruned", "x")):
        shown = [(number, value) for number, (kind, value) in trials if kind == state and math.isfinite(value)]
        axes.plot([number for number, _ in shown], [value for _, value in shown], marker, label=state)
    diverged = [number for number, (state, _) in trials if state == "diverged"]
    if diverged:
        axes.plot(diverged, [0.98] * len(diverged), "^", transform=axes.get_xaxis_transform(), label="diverged")
    steps: list[tuple[int, float]] = []
    for number, (state, value) in trials:
        if state == "diverged" and steps:
            steps.append((number, steps[-1][1]))
        elif state == "complete":
            steps.append((number, min([value, *(best for _, best in steps)])))
    axes.step([n for n, _ in steps], [v for _, v in steps], where="post", color=GREY, label="best so far")
    axes.set(xlabel="trial", ylabel="validation bits per dimension")
    set_title(axes, title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=LEGEND)
    return figure
