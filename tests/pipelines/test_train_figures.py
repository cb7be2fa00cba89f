"""Figures of the train pipeline: what they say of the images and the model."""

import numpy as np
import pytest
import torch

from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import ModelParameters, SampleParameters, TrainParameters
from glow_pipeline.pipelines.train.figures import (
    plot_bits_by_level,
    plot_latents,
    plot_likelihood_extremes,
    plot_samples_by_epoch,
    plot_training,
)
from glow_pipeline.training.history import History
from glow_pipeline.training.measurement import Measurement, measure_images
from tests.conftest import MakeTable, jittered_glow, random_images

HISTORY = History([{"epoch": 1, "train_bits_per_dim": 3.0, "val_bits_per_dim": 2.5}], best_epoch=1)


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(20), 4)


@pytest.fixture
def measured(table: ImageTable) -> Measurement:
    return measure_images(jittered_glow(), Batches(table, 8, torch.device("cpu")), 0)


def test_titles_name_images_size_and_bits(table: ImageTable, measured: Measurement) -> None:
    assert (
        plot_training(HISTORY, table, ModelParameters(), TrainParameters()).get_suptitle()
        == "Glow on tiny (1x8x8, 4 bits): training"
    )
    (levels,) = plot_bits_by_level(measured, table).axes
    assert levels.get_title().replace("\n", " ") == "Glow on tiny (1x8x8, 4 bits): bits/dim of 20 test images by level"
    assert plot_latents(measured, table).get_suptitle() == "Glow on tiny (1x8x8, 4 bits): latents of test images"


def test_filmstrip_says_temperature_and_best_epoch(table: ImageTable) -> None:
    samples = {1: random_images(8, 3)}
    figure = plot_samples_by_epoch(samples, HISTORY, table, SampleParameters(temperature=0.5))
    *_, title = (text.get_text().replace("\n", " ") for text in figure.texts)
    expected = "Glow on tiny (1x8x8, 4 bits): the same latents by epoch (the best is 1), temperature 0.5"
    assert title == expected


def test_extremes_show_images_with_bits_and_class(table: ImageTable, measured: Measurement) -> None:
    figure = plot_likelihood_extremes(measured, table)
    assert len(figure.axes) == 16
    for axes, row, bits in zip(
        figure.axes,
        [*measured.most_likely.rows, *measured.least_likely.rows],
        [*measured.most_likely.bits_per_dim, *measured.least_likely.bits_per_dim],
        strict=True,
    ):
        images, labels = table[np.array([row])]
        assert axes.texts[0].get_text() == f"{bits:.3f} bits/dim\nclass {labels.item()}"
        shown = np.asarray(axes.images[0].get_array())[..., 0]
        assert np.array_equal(shown, images[0, 0].numpy() * 17)


def test_latents_have_a_panel_a_level(table: ImageTable, measured: Measurement) -> None:
    titles = [axes.get_title().split("\n")[0] for axes in plot_latents(measured, table).axes]
    assert titles == ["level 1: 2x4x4", "level 2: 8x2x2"]
