import numpy as np

from glow_pipeline.plots.curves import POINTS, roc_figure


def test_roc_figure_shows_the_curve_chance_and_auroc() -> None:
    (axes,) = roc_figure({"AUROC 0.8750": ([0, 0, 0.5, 1], [0, 0.5, 1, 1])}, "in vs out").axes
    drawn = {str(line.get_label()): np.asarray(line.get_xydata(), dtype=float).tolist() for line in axes.lines}
    assert drawn["AUROC 0.8750"] == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert drawn["chance"] == [[0, 0], [1, 1]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("false positive rate", "true positive rate")
    assert axes.get_title() == "in vs out"


def test_thirty_curves_are_all_different() -> None:
    (axes,) = roc_figure({f"score {i}": ([0, 1], [0, 1]) for i in range(30)}, "").axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines[:-1]}) == 30


def test_long_curve_is_drawn_with_few_points() -> None:
    fpr = np.linspace(0, 1, 100_000)
    (axes,) = roc_figure({"curve": (fpr, fpr**0.1)}, "").axes
    drawn = np.asarray(axes.lines[0].get_xydata(), dtype=float)
    assert len(drawn) <= POINTS
    assert (drawn[0].tolist(), drawn[-1].tolist()) == ([0, 0], [1, 1])
    assert np.abs(np.interp(fpr, *drawn.T) - fpr**0.1).max() < 0.002
