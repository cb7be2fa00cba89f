"""A judge's verdicts: the same in any batch, and none by parts that do not belong together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.transfer import HostCopy
from glow_pipeline.outliers import scoring
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.verdict.judge import Judge, Judged
from tests.conftest import random_images
from tests.verdict.judges import full_judge

N = 64


@pytest.fixture(scope="module")
def judge() -> Judge:
    return full_judge()


@pytest.fixture(scope="module")
def images(judge: Judge) -> Tensor:
    """Noise, plain images, and copies of calibration images, whose scores are equal to calibration scores."""
    plain = torch.arange(16, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    return torch.cat([random_images(28, seed=1) // 16, plain, torch.from_numpy(judge.detector.kept_images)])


def together(batches: list[Judged]) -> Judged:
    columns = batches[0].scores.keys()
    return Judged(
        np.concatenate([batch.content_hashes for batch in batches]),
        {name: np.concatenate([batch.scores[name] for batch in batches]) for name in columns},
        np.concatenate([batch.p_values for batch in batches]),
        np.concatenate([batch.as_outlying for batch in batches]),
        [reason for batch in batches for reason in batch.reasons],
    )


@pytest.mark.parametrize("batch_size", [1, 7])
def test_verdicts_are_equal_in_any_batch_and_order(judge: Judge, images: Tensor, batch_size: int) -> None:
    (offline,) = judge.judged([images])
    order = torch.from_numpy(np.random.default_rng(0).permutation(N))
    served = together(list(judge.judged(images[order].split(batch_size))))
    assert np.array_equal(served.content_hashes, offline.content_hashes[order])
    for name, scores in offline.scores.items():
        np.testing.assert_allclose(served.scores[name], scores[order], rtol=1e-6)
    assert np.array_equal(served.p_values, offline.p_values[order])
    assert np.array_equal(served.as_outlying, offline.as_outlying[order])
    assert served.reasons == [offline.reasons[i] for i in order]


def test_copy_of_a_calibration_image_ties_with_it(judge: Judge) -> None:
    n = len(judge.calibration)
    (judged,) = judge.judged([torch.from_numpy(judge.detector.kept_images)])
    for score, p in zip(judged.scores[judge.main.column], judged.p_values, strict=True):
        rank = int(np.argmin(np.abs(judge.calibration - score)))
        assert p >= (1 + n - rank) / (n + 1)


def test_main_score_comes_first_and_carries_the_verdict(judge: Judge, images: Tensor) -> None:
    by_nll = replace(judge, scores=["nll", "density_sum"])
    (one,), (other,) = judge.judged([images]), by_nll.judged([images])
    assert list(other.scores) == list(one.scores)[::-1]
    assert not np.array_equal(one.p_values, other.p_values)
    for name, scores in one.scores.items():
        np.testing.assert_allclose(other.scores[name], scores)


def test_empty_batch_has_no_verdicts(judge: Judge) -> None:
    empty, one = judge.judged([torch.empty(0, 1, 8, 8, dtype=torch.uint8), random_images(1) // 16])
    assert (len(empty.p_values), len(empty.content_hashes), empty.reasons) == (0, 0, [])
    assert len(one.p_values) == 1
    assert judge.explained(torch.empty(0, 1, 8, 8, dtype=torch.uint8)) == []


class UnderWay(HostCopy):
    """Copies as of a GPU: each is read after the next batch was launched."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.under_way = True


def test_gpu_verdicts_are_those_of_their_batches(judge: Judge, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = images[:0]
    batches = [empty, images[:5], empty, empty, images[5:9], images[9:12], empty]
    expected = list(judge.judged(batches))
    monkeypatch.setattr(scoring, "HostCopy", UnderWay)
    got = list(judge.judged(batches))
    assert [len(judged.reasons) for judged in got] == [0, 5, 0, 0, 4, 3, 0]
    for one, other in zip(got, expected, strict=True):
        assert np.array_equal(one.content_hashes, other.content_hashes)
        assert np.array_equal(one.p_values, other.p_values)
        assert one.reasons == other.reasons


def test_class_conditioned_model_judges_without_classes() -> None:
    judge = full_judge(60, y_condition=True, num_classes=3)
    (judged,) = judge.judged([random_images(4) // 16])
    assert np.isfinite(judged.scores["nll_bits_per_dim"]).all()


def test_explanation_is_that_of_the_image_alone(judge: Judge, images: Tensor) -> None:
    some = images[20:32]
    (judged,) = judge.judged([some])
    explained = judge.explained(some, n_nearest=2)
    assert [explanation.reason for explanation in explained] == judged.reasons
    (alone,) = judge.explained(some[3:4], n_nearest=2)
    np.testing.assert_allclose(alone.surprise, explained[3].surprise, atol=1e-6)
    assert alone.surprise.shape == (8, 8)
    assert np.array_equal(alone.nearest, explained[3].nearest)
    assert alone.nearest.shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("change", "scores", "expected"),
    [
        ({}, ["nll", "typicality"], r"^score: typicality: not in detector None, which has density_sum, nll; choose"),
        ({"calibration": {"nll": np.empty(0)}}, ["nll"], r"^score: detector None has no calibration images to comp"),
        ({"codecs": {"png": "pillow 1"}}, ["nll"], r"^score: detector None was fitted with compressed sizes by png "),
        ({"model_sha256": "abc"}, ["nll"], r"^glow_detector: detector None is of model None, and not of"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    judge: Judge, change: dict[str, Any], scores: list[str], expected: str
) -> None:
    of_record = {name: value for name, value in change.items() if name != "calibration"}
    detector: Detector = replace(judge.detector, record=judge.detector.record.model_copy(update=of_record))
    detector = replace(detector, calibration=change.get("calibration", detector.calibration))
    with pytest.raises(GlowPipelineError, match=expected):
        replace(judge, detector=detector, scores=scores)


def test_detector_without_heat_map_explains_nothing(judge: Judge, images: Tensor) -> None:
    without = replace(judge, detector=replace(judge.detector, heat_map=None))
    with pytest.raises(GlowPipelineError, match=r"^score: detector None has no heat map; make a new one"):
        without.explained(images[:1])
