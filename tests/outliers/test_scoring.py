from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers import scoring
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.outliers.scoring import fit_scores, score_table
from glow_pipeline.randomness import key
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.outliers.toy_scores import Brightness, BrightnessDistance, Gradient

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
    score_table(model, batches(table), [NLL, SCORES["input_complexity"]], 0)
    assert calls == [3, 3, 1]


def test_traced_scores_share_one_pass(table: ImageTable) -> None:
    model, calls = jittered_glow(), []
    traced = model.traced

    def counted(x: Tensor) -> Any:
        calls.append(len(x))
        return traced(x)

    model.traced = counted  # type: ignore[method-assign]
    score_table(model, batches(table), [NLL, SCORES["last_level"], SCORES["input_complexity"]], 0)
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

    def describe(self, batch: ModelledBatch) -> Tensor:
        return torch.tensor([torch.nan, torch.inf, -torch.inf])[: len(batch.images)]


@dataclass(frozen=True)
class Returned(Score):
    """Whatever a test lets it return."""

    values: Any

    name: ClassVar[str] = "returned"
    summary: ClassVar[str] = "what it returned"
    paper: ClassVar[str] = "none"

    def describe(self, batch: ModelledBatch) -> Tensor:
        return self.values


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (torch.zeros(7, 1, 1), r"torch\.float32 \(7, 1, 1\)"),
        (torch.zeros(6), r"torch\.float32 \(6,\)"),
        (torch.tensor(0), r"torch\.int64 \(\)"),
        (torch.zeros(7, dtype=torch.complex64), r"torch\.complex64 \(7,\)"),
        (np.zeros(7), "ndarray"),
        (None, "NoneType"),
    ],
)
def test_descriptions_other_than_numbers_are_refused(table: ImageTable, values: object, found: str) -> None:
    line = (
        rf"^ood\.scores=returned: Returned\.describe returned {found} for 7 images; it should return a tensor of real "
        r"numbers with 7 rows$"
    )
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


def test_what_is_not_finite_scores_as_infinite(make_table: MakeTable) -> None:
    got = score_table(jittered_glow(), batches(make_table(random_images(3), 4)), [NotANumber()], 0)["nan"]
    assert got.tolist() == [np.inf, np.inf, np.inf]


@dataclass(frozen=True)
class ScoresReturned(Returned):
    """Scores that are whatever a test lets it return."""

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.log_prob

    def score(self, described: Numbers) -> Numbers:
        return self.values


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.zeros((7, 1)), r"float64 \(7, 1\)"),
        (np.zeros(6), r"float64 \(6,\)"),
        (np.zeros(7, dtype=complex), r"complex128 \(7,\)"),
        (torch.zeros(7), "Tensor"),
    ],
)
def test_scores_other_than_one_number_are_refused(table: ImageTable, values: object, found: str) -> None:
    line = (
        rf"^ood\.scores=returned: ScoresReturned\.score returned {found} for 7 images; it should return an array of 7 "
        r"real numbers$"
    )
    with pytest.raises(GlowPipelineError, match=line):
        score_table(jittered_glow(), batches(table, 7), [ScoresReturned(values)], 0)


def test_fitted_score_learns_from_validation_images(make_table: MakeTable, table: ImageTable) -> None:
    model, val_table = jittered_glow(), make_table(random_images(5, seed=1), 4)
    scores = fit_scores(model, batches(val_table), [NLL, BrightnessDistance()], 0)
    assert scores[0] is NLL
    mean = val_table[np.arange(5)][0].double().mean().item()
    expected = np.abs(table[np.arange(7)][0].double().mean(dim=(1, 2, 3)).numpy() - mean)
    assert score_table(model, batches(table), scores, 0)["brightness_distance"] == pytest.approx(expected)


@dataclass(frozen=True)
class Rows(BrightnessDistance):
    """The images that a fit is given."""

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:
        return {"described": described[:, 0]}


def test_fit_draws_some_of_many_images(
    make_table: MakeTable, table: ImageTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = fit_scores(jittered_glow(), batches(table), [Rows()], 0)[0]
    monkeypatch.setattr(scoring, "MOST_FITTED", 4)
    some, same, others = (fit_scores(jittered_glow(), batches(table), [Rows()], seed)[0] for seed in (0, 0, 1))
    assert isinstance(every, Rows)
    assert isinstance(some, Rows)
    assert isinstance(same, Rows)
    assert isinstance(others, Rows)
    assert len(every.fitted["described"]) == 7
    assert len(some.fitted["described"]) == 4
    assert set(some.fitted["described"]) <= set(every.fitted["described"])
    assert some.fitted["described"].tolist() == same.fitted["described"].tolist()
    assert some.fitted["described"].tolist() != others.fitted["described"].tolist()


@dataclass(frozen=True)
class OverflowsOn(BrightnessDistance):
    """A brightness that is not finite for the first images of a batch."""

    n: int = 0

    def describe(self, batch: ModelledBatch) -> Tensor:
        return super().describe(batch).index_fill(0, torch.arange(self.n), torch.nan)


def test_fit_leaves_out_overflowing_images(table: ImageTable) -> None:
    (score,) = fit_scores(jittered_glow(), batches(table, 7), [OverflowsOn(n=2)], 0)
    assert isinstance(score, OverflowsOn)
    assert score.fitted["mean"][0] == pytest.approx(table[np.arange(2, 7)][0].double().mean().item())


@dataclass(frozen=True)
class Limits(OverflowsOn):
    """A score that replaces what is not finite, as densities do."""

    def score(self, described: Numbers) -> Numbers:
        return np.nan_to_num(described[:, 0])


def test_overflowing_images_score_infinite(table: ImageTable) -> None:
    (values,) = score_table(jittered_glow(), batches(table, 7), [Limits(n=2)], 0).values()
    assert np.isinf(values).tolist() == [True] * 2 + [False] * 5


def test_score_that_cannot_be_fitted_is_left_out(table: ImageTable, caplog: pytest.LogCaptureFixture) -> None:
    scores = fit_scores(jittered_glow(), batches(table, 7), [OverflowsOn(n=7), NLL], 0)
    assert [score.name for score in scores] == ["nll"]
    assert caplog.messages[-1].startswith(
        "ood.scores=brightness_distance: the flow overflows on all 7 validation images"
    )


def test_draws_are_averaged(table: ImageTable) -> None:
    model = jittered_glow()
    got = score_table(model, batches(table), [NLL], 0, draws=3)["nll_bits_per_dim"]
    images = table[np.arange(7)][0]
    keys = [key(0, "score"), key(0, "score draw 1"), key(0, "score draw 2")]
    with torch.no_grad():
        each = [model.log_prob(images, content_noise(images, noise_key)).double() for noise_key in keys]
    assert got == pytest.approx(model.bits_per_dim(torch.stack(each).mean(dim=0)).numpy(), rel=1e-6)


def test_few_validation_images_are_warned_of(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    for n, warned in ((19, True), (20, False)):
        caplog.clear()
        fit_scores(jittered_glow(), batches(make_table(random_images(n), 4)), [BrightnessDistance()], 0)
        assert ("are fitted on 19 validation images" in caplog.text) == warned


@dataclass(frozen=True)
class Precision(Brightness):
    """Whether float32 convolutions are those of IEEE."""

    def describe(self, batch: ModelledBatch) -> Tensor:
        exact = torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]  # not declared
        return torch.full((len(batch.images),), float(exact))


def test_scores_compute_with_ieee_convolutions(table: ImageTable) -> None:
    """A GPU would otherwise round the factors of a score's own backward pass to TF32."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # torch does not declare it
    before = convolutions.fp32_precision
    (values,) = score_table(jittered_glow(), batches(table), [Precision()], 0).values()
    assert values.all()
    assert convolutions.fp32_precision == before
