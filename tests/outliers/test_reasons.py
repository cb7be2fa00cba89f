"""Sentences on the statistics of images, by statistics that are made up."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.reasons import MOST_STORED, NOTHING, OVERFLOW, Reasons, statistics
from tests.conftest import jittered_glow, random_images

LEVELS = 2
WIDTH = len(statistics(LEVELS))
BRIGHTNESS, CONTRAST, COLOUR, DETAIL, FINEST, COARSEST, MODEL_FINEST, QUARTER = 0, 1, 2, 3, 4, 5, 6, 8


def calibration(n: int = 1000) -> np.ndarray:
    """Normal quantiles in every column, each in another order: 50 and a standard deviation of about 1."""
    random = np.random.default_rng(0)
    quantiles = 50 + stats.norm.ppf((np.arange(n) + 0.5) / n)
    described = np.stack([random.permutation(quantiles) for _ in range(WIDTH)], axis=1)
    described[:, COLOUR] = 0
    return described


REASONS = Reasons().calibrate(calibration())


def ordinary(**changed: float) -> np.ndarray:
    values = np.full((1, WIDTH), 50.1)
    values[:, COLOUR] = 0
    for name, value in changed.items():
        values[0, globals()[name]] = value
    return values


def sentence(as_outlying: float = 0.5, **changed: float) -> str:
    (found,) = REASONS.sentences(ordinary(**changed), np.array([as_outlying]))
    return found


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"FINEST": 60.0}, "smoother than all 1,000 calibration images at the finest scale"),
        ({"COARSEST": 10.0}, "rougher than all 1,000 calibration images at the coarsest scale, 4 pixels and more"),
        ({"BRIGHTNESS": 60.0, "DETAIL": 90.0}, "brighter than all 1,000 calibration images; more detailed than all of"),
        ({"DETAIL": 105.0}, "more detailed than all 1,000 calibration images, compressed to 2.1 times their median"),
        ({"MODEL_FINEST": 40.0}, "less probable to the model than all 1,000 calibration images at the finest scale"),
        ({"QUARTER": 60.0}, "less probable to the model than all 1,000 calibration images in the upper left quarter"),
        ({"COLOUR": 3.0}, "more colourful than all 1,000 calibration images"),
    ],
)
def test_sentence_names_the_statistic_beyond_all(changed: dict[str, float], expected: str) -> None:
    assert sentence(**changed).startswith(expected)


def test_further_beyond_is_rarer_each_group_once() -> None:
    """Of three beyond all images the two furthest ones of different groups are named, what is seen first."""
    found = sentence(CONTRAST=30.0, FINEST=80.0, COARSEST=70.0, MODEL_FINEST=45.0)
    assert found == (
        "poorer in contrast than all 1,000 calibration images; smoother than all of them at the finest scale"
    )


def test_share_is_that_of_the_calibration_images() -> None:
    """Of 3,000 images with 11 statistics 132 = 11 * 2 * 6 have one that 5 others exceed at most; 150 may."""
    reasons = Reasons().calibrate(calibration(3000))
    exceeded_by = {k: 50 + stats.norm.ppf(1 - k / 3000) for k in (5, 8)}
    for value, word in ((exceeded_by[5], "brighter"), (100 - exceeded_by[5], "darker")):
        (found,) = reasons.sentences(ordinary(BRIGHTNESS=value), np.ones(1))
        assert found == f"{word} than 99.8% of the 3,000 calibration images"
    assert reasons.sentences(ordinary(BRIGHTNESS=exceeded_by[8]), np.ones(1)) == [NOTHING]


def test_ordinary_image_has_nothing_unusual() -> None:
    assert sentence() == NOTHING


def test_high_score_without_an_unusual_statistic_is_said() -> None:
    assert sentence(0.002, BRIGHTNESS=51.5) == (
        "unusual in no single statistic, but its score is higher than that of 99.8% of the 1,000 calibration images; "
        "what is rarest: brighter than 93.3% of them"
    )
    assert "its score is higher than that of all 1,000 calibration images; what" in sentence(0.0)
    assert "its score is higher than that of 90% of" in sentence(0.1)
    assert sentence(0.101) == NOTHING


def test_few_images_that_belong_have_unusual_statistics() -> None:
    """Of exchangeable images about 1 in 20 has one, whatever the number of statistics."""
    random = np.random.default_rng(1)
    reasons = Reasons().calibrate(random.normal(size=(4000, WIDTH)))
    found = reasons.sentences(random.normal(size=(4000, WIDTH)), np.ones(4000))
    share = 1 - found.count(NOTHING) / len(found)
    assert 0.03 < share < 0.065


@given(st.integers(1, 300), st.integers(0, 5))
def test_calibration_image_is_not_beyond_all(n: int, seed: int) -> None:
    described = np.random.default_rng(seed).normal(size=(n, WIDTH)).round(1)
    found = Reasons().calibrate(described).sentences(described + 1e-9, np.zeros(n))
    assert not any("than all" in sentence for sentence in found)


def test_overflow_is_said() -> None:
    assert sentence(MODEL_FINEST=np.nan) == OVERFLOW


def test_no_calibration_images_give_no_sentence() -> None:
    assert Reasons().sentences(np.zeros((2, WIDTH)), np.zeros(2)) == ["", ""]
    assert Reasons().calibrate(np.empty((0, WIDTH))).fitted == {}
    assert Reasons().calibrate(np.full((3, WIDTH), np.nan)).fitted == {}


def test_many_calibration_images_keep_the_extremes() -> None:
    described = np.random.default_rng(0).normal(size=(3 * MOST_STORED, WIDTH))
    fitted = Reasons().calibrate(described).fitted
    assert fitted["sorted"].shape == (MOST_STORED, WIDTH)
    assert np.array_equal(fitted["sorted"][[0, -1]], [described.min(axis=0), described.max(axis=0)])
    assert "all 30,000 calibration images" in Reasons(fitted).sentences(described[:1] + 99, np.zeros(1))[0]


def test_batches_of_any_size_give_the_same_reasons() -> None:
    images = random_images(6) >> 4
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    flow = jittered_glow()

    def described(rows: slice) -> np.ndarray:
        some = images[rows]
        batch = ModelledBatch(flow, some, torch.zeros(len(some)), noise[rows], traces=True)
        with torch.no_grad():
            return Reasons().describe(batch).numpy()

    together = described(slice(0, 6))
    assert together.shape == (6, len(statistics(len(flow.levels))))
    reasons = Reasons().calibrate(together)
    alone = np.concatenate([described(slice(i, i + 1)) for i in range(6)])
    assert reasons.sentences(alone, np.zeros(6)) == reasons.sentences(together, np.zeros(6))
