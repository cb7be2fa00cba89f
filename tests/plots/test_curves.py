import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from glow_pipeline.plots.curves import roc_figure, training_curves


def lines(figure: Figure) -> dict[str, list[list[float]]]:
    """The points of each line by its name in the legend."""
    (axes,) = figure.axes
    return {str(line.get_label()): np.asarray(line.get_xydata(), dtype=float).tolist() for line in axes.lines}


EPOCHS = [
    {"epoch": epoch, "train_bits_per_dim": 4.0 - epoch, "val_bits_per_dim": value}
    for epoch, value in enumerate([3.5, 2.5, 3.0], start=1)
]


def test_training_curves_show_splits_and_best_epoch() -> None:
    figure = training_curves(EPOCHS, "a title")
    drawn = lines(figure)
    assert drawn["train"] == [[1, 3.0], [2, 2.0], [3, 1.0]]
    assert drawn["val"] == [[1, 3.5], [2, 2.5], [3, 3.0]]
    assert [x for x, _ in drawn["best: epoch 2"]] == [2, 2]
    assert figure.axes[0].get_title() == "a title"
    assert figure.axes[0].get_ylabel() == "bits per dimension"
    assert figure.axes[0].get_legend() is not None


def test_curves_given_the_class_say_so() -> None:
    figure = training_curves(EPOCHS, "", given_class=True)
    assert figure.axes[0].get_ylabel() == "bits per dimension given the class"


def test_a_training_without_an_epoch_has_empty_curves() -> None:
    assert lines(training_curves([], "none")) == {"train": [], "val": []}


def test_nan_epoch_is_not_the_best() -> None:
    rows = [*EPOCHS, {"epoch": 4, "train_bits_per_dim": math.nan, "val_bits_per_dim": math.nan}]
    drawn = lines(training_curves(rows, "nan"))
    assert "best: epoch 2" in drawn
    assert "val (1 epochs not finite)" in drawn


def test_nan_first_epoch_is_not_the_best() -> None:
    rows = [{"epoch": 0, "train_bits_per_dim": 1.0, "val_bits_per_dim": math.nan}, *EPOCHS]
    assert "best: epoch 2" in lines(training_curves(rows, "nan"))


def test_roc_figure_shows_the_curve_chance_and_auroc() -> None:
    figure = roc_figure({"AUROC 0.8750": ([0, 0, 0.5, 1], [0, 0.5, 1, 1])}, "in vs out")
    drawn = lines(figure)
    assert drawn["AUROC 0.8750"] == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert drawn["chance"] == [[0, 0], [1, 1]]
    assert figure.axes[0].get_xlabel() == "false positive rate"
    assert figure.axes[0].get_ylabel() == "true positive rate"
    assert figure.axes[0].get_title() == "in vs out"


def test_figures_are_not_kept_in_pyplot() -> None:
    before = plt.get_fignums()
    training_curves(EPOCHS, "")
    roc_figure({"AUROC 0.5000": ([0, 1], [0, 1])}, "")
    assert plt.get_fignums() == before
