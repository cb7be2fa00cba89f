"""Rules that hold for each score that needs one pass of the flow."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.outliers.scoring import fit_scores, score_table
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.outliers.slow import modelled, small_batch

NAMES = [score.name for score in SCORES.values() if score.cost == "one pass"]
each_score = pytest.mark.parametrize("name", NAMES)
CPU = torch.device("cpu")


def described(score: Score, batch: ModelledBatch) -> Numbers:
    """Describe a batch: (B, d)."""
    with torch.no_grad():
        return score.describe(batch).double().view(len(batch.images), -1).numpy()


def fitted(name: str, batch: ModelledBatch) -> Score:
    score = SCORES[name]
    return score.fit(described(score, batch), 0) if isinstance(score, FittedScore) else score


def absurd_images(channels: int) -> Tensor:
    """Return images that no data set has: black, white, halves, noise of two levels, 4 bits."""
    images = torch.zeros(4, channels, 8, 8, dtype=torch.uint8)
    images[1] = 15
    images[2, :, :, 4:] = 15
    images[3] = random_images(1, channels)[0].gt(127) * 15
    return images


@each_score
@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize(
    "options",
    [
        {"L": 1},
        {"L": 3},
        {"flow_coupling": "additive"},
        {"y_condition": True, "num_classes": 3, "learn_top": True},
    ],
    ids=["one level", "a level of one pixel", "additive", "classes"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_of_absurd_images_are_no_nan(name: str, n: int, options: dict[str, Any], channels: int) -> None:
    batch = small_batch(n, channels, **options)
    score = fitted(name, batch)
    for images in (batch.images, absurd_images(channels)):
        got = score.score(described(score, modelled(batch.model, images)))
        assert got.shape == (len(images),)
        assert got.dtype == np.float64
        assert np.isfinite(got).all()


@each_score
def test_constant_validation_images_can_be_fitted(name: str) -> None:
    batch = small_batch(4)
    same = modelled(batch.model, batch.images[:1].expand(6, -1, -1, -1).contiguous())
    score = fitted(name, same)
    assert not np.isnan(score.score(described(score, batch))).any()


@each_score
def test_overflowing_flow_is_most_outlying(name: str) -> None:
    batch = small_batch(12)
    score = fitted(name, batch)
    if not name.startswith("complexity"):
        lost = np.full((1, described(score, batch).shape[1]), np.nan)
        got = np.nan_to_num(score.score(lost), nan=np.inf)[0]
        assert got > score.score(described(score, batch)).max()


@pytest.fixture
def tables(make_table: MakeTable) -> tuple[ImageTable, ImageTable]:
    return make_table(random_images(30, seed=1), 4), make_table(random_images(9), 4)


def test_scores_do_not_depend_on_order_or_batches(tables: tuple[ImageTable, ImageTable]) -> None:
    model, (val_table, table) = jittered_glow(), tables
    scores = fit_scores(model, Batches(val_table, 30, CPU), [SCORES[name] for name in NAMES], 0)
    together = score_table(model, Batches(table, 9, CPU), scores, 0)
    assert list(together) == [score.column for score in scores]
    order = np.random.default_rng(0).permutation(9)
    for other, rows in ((Batches(table, 2, CPU), np.arange(9)), (Batches(table.subset(order), 4, CPU), order)):
        got = score_table(model, other, scores, 0)
        for column in together:
            assert got[column] == pytest.approx(together[column][rows], rel=1e-4, abs=1e-4), column
    for score in scores:
        alone = score_table(model, Batches(table, 9, CPU), [score], 0)[score.column]
        assert alone == pytest.approx(together[score.column], rel=1e-12), score.name


def test_fits_are_the_same_for_one_seed(tables: tuple[ImageTable, ImageTable]) -> None:
    model, (val_table, _) = jittered_glow(), tables
    first, second = (fit_scores(model, Batches(val_table, 8, CPU), list(SCORES.values()), 0) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        if isinstance(one, FittedScore) and isinstance(other, FittedScore):
            assert one.fitted.keys() == other.fitted.keys()
            assert all(np.array_equal(one.fitted[name], other.fitted[name]) for name in one.fitted)


@each_score
def test_fitted_state_survives_a_file(name: str) -> None:
    batch = small_batch(20)
    score = fitted(name, batch)
    if isinstance(score, FittedScore):
        arrays = {key: np.ascontiguousarray(array) for key, array in score.fitted.items()}
        restored = replace(score, fitted=load(save(arrays)))
        json.dumps(sorted(restored.fitted))
        assert np.array_equal(
            restored.score(described(score, batch)), score.score(described(score, batch)), equal_nan=True
        )
        assert all(array.dtype == np.float64 for array in restored.fitted.values())


@each_score
def test_docstring_has_source_cost_and_failure(name: str) -> None:
    text = type(SCORES[name]).__doc__ or ""
    assert "Paper: " in text
    assert "Cost: " in text
    assert "Known failure: " in text
