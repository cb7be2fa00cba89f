from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scoring import fit_scores, score_table
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.outliers.toy_scores import Brightness, Gradient, Typicality

CPU = torch.device("cpu")
NLL = SCORES["nll"]


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(7), 4)


def batches(table: ImageTable, batch_size: int = 3) -> Batches:
    return Batches(table, batch_size, CPU)


def test_scores_are_columns_in_table_order(table: ImageTable) -> None:
    got = score_table(jittered_glow(), batches(table), [NLL, Brightness()], 0)
    assert list(got) == ["nll_bits_per_dim", "brightness_levels"]
    assert all(column.shape == (7,) and column.dtype == np.float64 for column in got.values())
    assert got["brightness_levels"] == pytest.approx(table[np.arange(7)][0].double().mean(dim=(1, 2, 3)).numpy())


def test_scores_do_not_change_with_company_or_time(table: ImageTable) -> None:
    model = jittered_glow()
    alone = score_table(model, batches(table), [NLL], 0)["nll_bits_per_dim"]
    together = score_table(model, batches(table), [Gradient(), Brightness(), NLL], 0)["nll_bits_per_dim"]
    first = score_table(model, batches(table.subset(np.arange(3))), [NLL], 0)["nll_bits_per_dim"]
    assert np.array_equal(together, alone)
    assert np.array_equal(first, alone[:3])


def test_scores_share_one_pass_of_the_flow(table: ImageTable) -> None:
    model, calls = jittered_glow(), []
    log_prob = model.log_prob

    def counted(*arguments: Tensor) -> Tensor:
        calls.append(len(arguments[0]))
        return log_prob(*arguments)

    model.log_prob = counted  # type: ignore[method-assign,assignment]
    score_table(model, batches(table), [NLL, Typicality(1.0)], 0)
    assert calls == [3, 3, 1]


def test_scores_may_differentiate(table: ImageTable) -> None:
    model = jittered_glow()
    got = score_table(model, batches(table), [Gradient()], 0)["gradient"]
    assert np.unique(got).size == 7
    assert all(parameter.grad is None for parameter in model.parameters())


@dataclass(frozen=True)
class NotANumber(Score):
    """NaN, infinity, minus infinity."""

    name: ClassVar[str] = "nan"
    summary: ClassVar[str] = "nothing"
    paper: ClassVar[str] = "none"

    def score(self, batch: ModelledBatch) -> Tensor:
        return torch.tensor([torch.nan, torch.inf, -torch.inf])[: len(batch.images)]


@dataclass(frozen=True)
class Returned(Score):
    """Whatever a test lets it return."""

    values: Any

    name: ClassVar[str] = "returned"
    summary: ClassVar[str] = "what it returned"
    paper: ClassVar[str] = "none"

    def score(self, batch: ModelledBatch) -> Tensor:
        return self.values


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (torch.zeros(7, 1), r"torch\.float32 \(7, 1\)"),
        (torch.zeros(6), r"torch\.float32 \(6,\)"),
        (torch.tensor(0), r"torch\.int64 \(\)"),
        (torch.zeros(7, dtype=torch.complex64), r"torch\.complex64 \(7,\)"),
        (np.zeros(7), "ndarray"),
        (None, "NoneType"),
    ],
)
def test_results_other_than_one_number_are_refused(table: ImageTable, values: object, found: str) -> None:
    line = rf"^ood\.scores=returned: Returned\.score returned {found} for 7 images; it should return a tensor of 7"
    with pytest.raises(GlowPipelineError, match=line):
        score_table(jittered_glow(), batches(table, 7), [Returned(values)], 0)


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(7),
        torch.arange(7, dtype=torch.float16),
        torch.arange(7, dtype=torch.float64).requires_grad_(),
    ],
    ids=["int64", "float16", "with gradients"],
)
def test_scores_of_any_real_type_are_taken(table: ImageTable, values: Tensor) -> None:
    got = score_table(jittered_glow(), batches(table, 7), [Returned(values)], 0)["returned"]
    assert got.dtype == np.float64
    assert got.tolist() == list(range(7))


def test_nan_scores_as_infinite(make_table: MakeTable) -> None:
    got = score_table(jittered_glow(), batches(make_table(random_images(3), 4)), [NotANumber()], 0)["nan"]
    assert got.tolist() == [np.inf, np.inf, -np.inf]


def test_fitted_score_is_fitted_once_on_fit_images(make_table: MakeTable, table: ImageTable) -> None:
    model, fit_images = jittered_glow(), make_table(random_images(5, seed=1), 4)
    scores = fit_scores(model, batches(fit_images), [NLL, Typicality()], 0)
    assert scores[0] is NLL
    mean = score_table(model, batches(fit_images), [NLL], 0)["nll_bits_per_dim"].mean()
    nats = 64 * np.log(2)
    got = score_table(model, batches(table), scores, 0)
    assert got["typicality"] == pytest.approx(np.abs(got["nll_bits_per_dim"] - mean) * nats)


def test_fitted_score_without_fit_images_is_refused() -> None:
    with pytest.raises(GlowPipelineError, match=r"^ood\.scores=typicality: has to be fitted on images"):
        fit_scores(jittered_glow(), None, [NLL, Typicality()], 0)
    assert fit_scores(jittered_glow(), None, [NLL], 0) == [NLL]
