import math

import numpy as np
from matplotlib.figure import Figure

from glow_pipeline.plots.trials import search_history


def lines(figure: Figure) -> dict[str, list[list[float]]]:
    """The points of each line by its name in the legend."""
    (axes,) = figure.axes
    return {str(line.get_label()): np.asarray(line.get_xydata(), dtype=float).tolist() for line in axes.lines}


def test_history_shows_outcomes_and_best_so_far() -> None:
    states = ["complete", "fail", "diverged", "pruned", "complete", "complete", "running"]
    drawn = lines(search_history(states, [3.0, math.nan, math.inf, 4.0, 2.0, 2.5, math.nan], "a title"))
    assert drawn["complete"] == [[0, 3.0], [4, 2.0], [5, 2.5]]
    assert drawn["pruned"] == [[3, 4.0]]
    assert [x for x, _ in drawn["diverged"]] == [2]
    assert drawn["best so far"] == [[0, 3.0], [2, 3.0], [4, 2.0], [5, 2.0]]


def test_axes_are_named() -> None:
    (axes,) = search_history(["complete"], [1.0], "a title").axes
    assert axes.get_title() == "a title"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial", "validation bits per dimension")
    assert axes.get_legend() is not None


def test_search_with_only_diverged_trials_is_drawn() -> None:
    drawn = lines(search_history(["diverged"] * 2, [math.inf] * 2, ""))
    assert drawn["complete"] == drawn["best so far"] == []
    assert len(drawn["diverged"]) == 2
