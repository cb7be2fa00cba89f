import numpy as np
import pytest
import torch

from glow_pipeline.density import modelled_batches
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.groups import draw_groups, lines_of_groups, metrics_of_groups, score_groups
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.group_score import MOST_SAMPLED, GroupScore
from glow_pipeline.outliers.scores.latent_ks import BINS, LatentKs
from glow_pipeline.outliers.scores.typicality import Typicality
from glow_pipeline.outliers.scoring import fit_scores, score_table
from tests.conftest import MakeTable, jittered_glow, random_images

CPU = torch.device("cpu")
NLL = SCORES["nll"]


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(11), 4)


@pytest.fixture
def fitted(make_table: MakeTable) -> list[GroupScore]:
    batches = Batches(make_table(random_images(8, seed=1), 4), 3, CPU)
    return fit_scores(jittered_glow(), batches, [Typicality(), LatentKs()], 0)  # type: ignore[return-value]


@pytest.mark.parametrize(("n", "size"), [(11, 3), (12, 3), (5, 5), (4, 5), (7, 1)])
def test_groups_have_their_size_and_no_image_twice(n: int, size: int) -> None:
    group = draw_groups(n, size, 0)
    assert len(group) == n
    assert (np.bincount(group[group >= 0], minlength=n // size) == size).all()
    assert (group == -1).sum() == n % size


def test_groups_depend_on_the_seed_alone() -> None:
    assert np.array_equal(draw_groups(100, 7, 3), draw_groups(100, 7, 3))
    assert not np.array_equal(draw_groups(100, 7, 3), draw_groups(100, 7, 4))


def test_group_typicality_is_of_the_mean_likelihood(
    table: ImageTable, make_table: MakeTable, fitted: list[GroupScore]
) -> None:
    model, batches = jittered_glow(), Batches(table, 4, CPU)
    got = score_groups(model, batches, fitted, 3, 0)["typicality"]
    each = score_table(model, batches, [NLL], 0)["nll_bits_per_dim"]
    validation = Batches(make_table(random_images(8, seed=1), 4), 3, CPU)
    mean = score_table(model, validation, [NLL], 0)["nll_bits_per_dim"].mean()
    group = draw_groups(11, 3, 0)
    assert got == pytest.approx([abs(each[group == number].mean() - mean) for number in range(3)])


def test_group_ks_pools_the_latents(table: ImageTable, fitted: list[GroupScore]) -> None:
    model = jittered_glow()
    got = score_groups(model, Batches(table, 4, CPU), fitted, 3, 0)["latent_ks"]
    histograms = fitted[1].fitted["histograms"].reshape(-1, BINS)
    group = draw_groups(11, 3, 0)
    for number in range(3):
        alone = Batches(table.subset(np.flatnonzero(group == number)), 3, CPU)
        (batch,) = modelled_batches(model, alone, 0, None, traces=True)
        distances = []
        for level, reference in zip(batch.levels, histograms, strict=True):
            uniform = torch.special.ndtr(level.eps.flatten()).numpy()
            pooled = [(uniform < k / BINS).mean() for k in range(1, BINS)]
            distances.append(abs(np.array(pooled) - reference.cumsum()[:-1]).max())
        assert got[number] == pytest.approx(np.mean(distances), abs=1e-6)


def test_groups_do_not_depend_on_batches(table: ImageTable, fitted: list[GroupScore]) -> None:
    by_size = [score_groups(jittered_glow(), Batches(table, size, CPU), fitted, 4, 0) for size in (1, 5, 11)]
    for name in ("typicality", "latent_ks"):
        assert by_size[0][name] == pytest.approx(by_size[1][name], rel=1e-5)
        assert by_size[0][name] == pytest.approx(by_size[2][name], rel=1e-5)


def test_groups_larger_than_the_set_are_refused(table: ImageTable, fitted: list[GroupScore]) -> None:
    with pytest.raises(GlowPipelineError, match=r"^ood\.group_size=12: tiny has 11 images, fewer than a group; lower"):
        score_groups(jittered_glow(), Batches(table, 4, CPU), fitted, 12, 0)


def test_bootstrap_is_of_means_of_validation_images() -> None:
    random = np.random.default_rng(0)
    nll = random.normal(3, 0.5, (400, 1))
    score = Typicality().fit(nll, 0)
    drawn = score.bootstrap(25, 2000, 0)
    assert (np.diff(drawn) >= 0).all()
    # |mean of 25 normal numbers - their expectation| has the 95% quantile 1.96 sd / 5.
    assert np.quantile(drawn, 0.95) == pytest.approx(1.96 * nll.std() / 5, rel=0.06)


def test_sample_of_validation_images_is_bounded() -> None:
    numbers = np.arange(3.0 * MOST_SAMPLED)[:, None]
    fitted = Typicality().fit(numbers, 0).fitted
    assert fitted["mean"] == numbers.mean()
    assert len(np.unique(fitted["sample"])) == MOST_SAMPLED
    assert Typicality().fit(numbers[:5], 0).fitted["sample"].tolist() == numbers[:5].tolist()


def test_metrics_of_groups_have_names_of_their_own() -> None:
    score = Typicality().fit(np.random.default_rng(0).normal(3, 0.5, (400, 1)), 0)
    inside, outside = np.array([0.0, 0.1, 0.2, 9.0]), np.array([5.0, 8.0])
    metrics = metrics_of_groups([score], {"typicality": inside}, {"typicality": outside}, 10, 0)
    assert metrics["group_size"] == 10
    assert (metrics["n_groups_in"], metrics["n_groups_out"]) == (4, 2)
    assert metrics["group_typicality.auroc"] == 6 / 8
    assert metrics["group_typicality.flagged_in"] == 0.25
    assert metrics["group_typicality.flagged_out"] == 1.0
    assert list(lines_of_groups(metrics)) == ["group_typicality.auroc"]
    assert lines_of_groups({"auroc": 0.5}) == {}
