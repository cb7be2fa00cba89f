"""Curves of a training: every panel, and epochs that are not finite or far from all others."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.training import training_curves

Row = dict[str, float]


def lines(axes: Axes) -> dict[str, list[list[float]]]:
    """The points of each line by its name in the legend."""
    return {str(line.get_label()): np.asarray(line.get_xydata(), dtype=float).tolist() for line in axes.lines}


def bits(figure: Figure) -> Axes:
    return figure.axes[0]


EPOCHS: list[Row] = [
    {"epoch": epoch, "train_bits_per_dim": 4.0 - epoch, "val_bits_per_dim": value}
    for epoch, value in enumerate([3.5, 2.5, 3.0], start=1)
]


def rows(values: list[float]) -> list[Row]:
    """Epochs with these bits per dimension of training and validation images, and everything else."""
    return [
        {
            "epoch": epoch,
            "train_bits_per_dim": value,
            "val_bits_per_dim": value,
            "lr": 0.1 * epoch,
            "grad_norm": 2.0 * epoch,
            "largest_grad_norm": 100.0 * epoch,
            "images_per_second": 50.0,
        }
        for epoch, value in enumerate(values, start=1)
    ]


def test_epochs_of_images_are_named_on_the_axis() -> None:
    assert bits(training_curves(EPOCHS, "")).get_xlabel() == "epoch"
    assert bits(training_curves(EPOCHS, "", epoch_images=1_000_000)).get_xlabel() == "epoch of 1,000,000 images"


def test_bits_show_splits_and_best_epoch() -> None:
    figure = training_curves(EPOCHS, "a title")
    drawn = lines(bits(figure))
    assert drawn["train"] == [[1, 3.0], [2, 2.0], [3, 1.0]]
    assert drawn["val"] == [[1, 3.5], [2, 2.5], [3, 3.0]]
    assert [x for x, _ in drawn["best: epoch 2, 2.500"]] == [2, 2]
    assert [2, 2.5] in [point for points in drawn.values() if len(points) == 1 for point in points]
    assert figure.get_suptitle() == "a title"
    assert bits(figure).get_ylabel() == "bits per dimension"
    assert bits(figure).get_legend() is not None


def test_other_panels_have_rate_norms_and_speed() -> None:
    _, rate, norms, speed = training_curves(rows([3.0, 2.0]), "").axes
    assert [panel.get_title() for panel in (rate, norms, speed)] == [
        "learning rate",
        "gradient norm",
        "images per second",
    ]
    assert lines(rate)["learning rate"] == [[1, 0.1], [2, 0.2]]
    assert lines(norms) == {"mean": [[1, 2.0], [2, 4.0]], "largest": [[1, 100.0], [2, 200.0]]}
    assert norms.get_yscale() == "log"
    assert lines(speed)["images/s"] == [[1, 50.0], [2, 50.0]]
    assert speed.get_ylim()[0] == rate.get_ylim()[0] == 0


@pytest.mark.parametrize("largest", [3.0, 1e3, 1e6, 1e25])
def test_axis_of_norms_has_numbers(largest: float) -> None:
    epochs = [{**row, "grad_norm": 1.0, "largest_grad_norm": largest} for row in EPOCHS]
    norms = training_curves(epochs, "").axes[2]
    low, high = norms.get_ylim()
    assert sum(bool(low <= tick <= high) for tick in norms.get_yticks()) >= 2


def test_equal_bits_keep_their_whole_numbers() -> None:
    figure = training_curves([{"epoch": 1, "train_bits_per_dim": 1.75255, "val_bits_per_dim": 1.75227}], "")
    figure.draw_without_rendering()
    assert not bits(figure).yaxis.get_offset_text().get_text()


def test_curves_given_the_class_say_so() -> None:
    figure = training_curves(EPOCHS, "", given_class=True)
    assert bits(figure).get_ylabel() == "bits per dimension given the class"


def test_a_training_without_an_epoch_has_empty_curves() -> None:
    figure = training_curves([], "none")
    figure.draw_without_rendering()
    assert lines(bits(figure)) == {"train": [], "val": []}


def test_one_epoch_is_a_marker_in_each_panel() -> None:
    figure = training_curves(rows([3.0]), "")
    figure.draw_without_rendering()
    assert all(axes.lines[0].get_marker() == "." for axes in figure.axes)
    inside = [tick for tick in bits(figure).get_xticks() if 0.5 <= tick <= 1.5]
    assert inside == [1]


def test_epochs_that_are_not_finite_are_counted() -> None:
    worthless = {"epoch": 4.0, "train_bits_per_dim": math.nan, "val_bits_per_dim": math.inf, "grad_norm": math.inf}
    figure = training_curves([*EPOCHS, worthless], "nan")
    figure.draw_without_rendering()
    drawn = lines(bits(figure))
    assert {"best: epoch 2, 2.500", "train (1 epoch not finite)", "val (1 epoch not finite)"} <= drawn.keys()


def test_nan_first_epoch_is_not_the_best() -> None:
    first = {"epoch": 0.0, "train_bits_per_dim": 1.0, "val_bits_per_dim": math.nan}
    assert "best: epoch 2, 2.500" in lines(bits(training_curves([first, *EPOCHS], "nan")))


def test_first_epochs_do_not_squash_the_others() -> None:
    values = [90.0, 20.0, *np.linspace(3.0, 2.0, 48).tolist()]
    axes = bits(training_curves(rows(values), ""))
    low, high = axes.get_ylim()
    assert 1.9 < low < 2.0
    assert 3.0 < high < 4.0
    assert axes.get_title(loc="right") == "4 values above the axis, up to 90"


def test_spike_in_the_middle_is_beyond_the_axis() -> None:
    values = np.linspace(3.0, 2.0, 50)
    values[30] = 1e6
    axes = bits(training_curves(rows(values.tolist()), ""))
    assert axes.get_ylim()[1] < 4
    assert axes.get_title(loc="right") == "2 values above the axis, up to 1e+06"


def test_ordinary_curves_are_not_cut() -> None:
    for values in ([4.9, 3.6, 3.3], [3.0] * 30, [3.0], np.linspace(4.0, 2.0, 50).tolist()):
        axes = bits(training_curves(rows(values), ""))
        assert axes.get_title(loc="right") == ""
        assert axes.get_ylim()[1] >= max(values)


def test_figures_are_not_kept_in_pyplot() -> None:
    before = plt.get_fignums()
    training_curves(EPOCHS, "")
    roc_figure({"AUROC 0.5000": ([0, 1], [0, 1])}, "")
    assert plt.get_fignums() == before
