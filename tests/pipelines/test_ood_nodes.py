"""The ood nodes that can run alone, on scores and metrics of an earlier command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers import scores
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.parameters import OodParameters
from glow_pipeline.pipelines.ood.figures import plot_detection, plot_ranked_images
from glow_pipeline.pipelines.ood.nodes import measure_detection, select_in_images, select_out_images
from glow_pipeline.training.model_file import TrainedGlow
from tests.conftest import MakeTable, jittered_glow, model_record, random_images
from tests.outliers.toy_scores import Brightness, registered

NLL = OodParameters(scores=["nll"], score="nll")
SCORES = pd.DataFrame(
    {"source": ["digits"] * 2 + ["textures"] * 2, "is_out": [False] * 2 + [True] * 2, "unreadable": None}
)


def test_figures_of_unregistered_score_are_refused() -> None:
    with pytest.raises(GlowPipelineError, match=r"^ood_metrics: its score gone is not registered"):
        plot_detection(SCORES.assign(gone=np.arange(4.0)), {"auroc": 0.5, "main_score": "gone"})


def test_metrics_of_scores_not_stored_are_refused() -> None:
    line = r"^ood\.scores=nll: the stored ood_scores have no nll_bits_per_dim; let score_images"
    with pytest.raises(GlowPipelineError, match=line):
        measure_detection(SCORES, {}, {}, NLL, 0, "cpu")
    with pytest.raises(GlowPipelineError, match=line):
        plot_detection(SCORES, {"auroc": 0.5, "main_score": "nll"})


@pytest.fixture
def tables(make_table: MakeTable) -> tuple[ImageTable, ImageTable]:
    """Return three of four in-distribution images of 2 bits, and three outliers."""
    inside = make_table((64 * torch.arange(4)).view(4, 1, 1, 1).expand(4, 1, 2, 2).to(torch.uint8), 2)
    outside = make_table(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), 2)
    return inside.subset(np.arange(3)), outside


def scored(inside: ImageTable, outside: ImageTable) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": ["digits"] * 3 + ["textures"] * 4,
            "index": pd.array([*inside.rows, *outside.rows, None], dtype="Int64"),
            "file": [None] * 3 + ["a.png", "b.png", "c.png", "d.png"],
            "nll_bits_per_dim": [1.0, 5.0, 2.0, 6.0, 3.0, np.inf, np.nan],
            "brightness_levels": [9.0, 5.0, 1.0, 8.0, 7.0, 6.0, np.nan],
            "unreadable": [None] * 6 + ["is empty"],
            "is_out": [False] * 3 + [True] * 4,
        }
    )


def test_ranked_images_show_errors_and_disagreements(tables: tuple[ImageTable, ImageTable]) -> None:
    with registered(Brightness()):
        ood = OodParameters(scores=["nll", "brightness"], score="brightness")
        figure = plot_ranked_images(scored(*tables), *tables, ood)
    assert [text.get_text().replace("\n", " ") for text in figure.texts] == [
        "digits vs textures (1x2x2, 2 bits): ranks among 6 images, 1 is the most outlying",
        "test images that brightness ranks as most outlying",
        "outliers that brightness ranks as least outlying",
        "more outlying by brightness than by nll",
        "more outlying by nll than by brightness",
    ]
    captions = [axes.texts[0].get_text().split("\n") for axes in figure.axes]
    assert captions[:3] == [
        ["digits 0", "brightness 1", "nll 6"],
        ["digits 1", "brightness 5", "nll 3"],
        ["digits 2", "brightness 6", "nll 5"],
    ]
    assert [file for file, *_ in captions[3:6]] == ["c.png", "b.png", "a.png"]
    assert [file for file, *_ in captions[6:]] == ["digits 0", "b.png", "c.png", "digits 1", "digits 2"]
    shown = [int(np.asarray(axes.images[0].get_array()).max()) for axes in figure.axes[:3]]
    assert shown == [0, 85, 170], "two bits are shown as eight"


def test_one_score_alone_has_its_errors(tables: tuple[ImageTable, ImageTable]) -> None:
    figure = plot_ranked_images(scored(*tables), *tables, NLL)
    assert [text.get_text() for text in figure.texts[1:]] == [
        "test images that nll ranks as most outlying",
        "outliers that nll ranks as least outlying",
    ]


def test_scores_of_other_images_are_refused(tables: tuple[ImageTable, ImageTable]) -> None:
    inside, outside = tables
    with pytest.raises(GlowPipelineError, match=r"^the stored ood_scores are not of the images of "):
        plot_ranked_images(scored(inside, outside), inside.subset(np.array([0, 2, 1])), outside, NLL)


def test_scatter_needs_both_columns(tables: tuple[ImageTable, ImageTable]) -> None:
    table = scored(*tables)
    metrics = {"main_score": "nll", "auroc": 0.75, "images": "1x2x2_2bit_resize"}
    assert len(plot_detection(table, metrics)[0].axes) == 1
    table[scores.SCORES["complexity"].column] = table["brightness_levels"]
    both = plot_detection(table, {**metrics, "auroc.complexity": 0.5})
    assert len(both[0].axes) == 3
    legend = both[1].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        "nll, AUROC 0.7500",
        "complexity, AUROC 0.5000",
        "chance",
    ]


def test_sets_of_one_name_stay_apart(tables: tuple[ImageTable, ImageTable]) -> None:
    figure, _ = plot_detection(
        scored(*tables).assign(source="digits"), {"main_score": "nll", "auroc": 0.75, "images": "1x2x2_2bit_resize"}
    )
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["digits (3)", "digits (as outliers) (3, 1 not finite)"]


def of_folder(table: ImageTable, path: str) -> ImageTable:
    """Return the same images as those of a user's folder."""
    selection = table.record.image_selection.model_copy(update={"source": "folder", "path": Path(path)})
    table.record = table.record.model_copy(update={"image_selection": selection})
    return table


def test_training_images_of_other_models_are_left_out(make_table: MakeTable) -> None:
    images = random_images(12)
    inside, outside = (of_folder(make_table(images[rows], 4), str(rows)) for rows in (slice(6), slice(6, 12)))
    model = TrainedGlow(jittered_glow(), model_record(), inside.content_hashes[:1], inside.content_hashes[1:2])
    trained_on = np.concatenate([inside.content_hashes[2:3], outside.content_hashes[3:4]])
    fitted = model, Detector.without_scores("model"), OtherModels(trained_on=trained_on)
    in_images, in_facts = select_in_images(*fitted, inside, {"stored_model": None})
    assert (list(in_images.rows), in_facts["in_copies_of_train"]) == ([3, 4, 5], 3)
    out_images, out_facts = select_out_images(*fitted, outside, in_images)
    assert (list(out_images.rows), out_facts["out_copies_of_train"]) == ([0, 1, 2, 4, 5], 1)
