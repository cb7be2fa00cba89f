from typing import Any

import numpy as np
import pytest
import torch

from glow_pipeline.density import ModelledBatch
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector import Detector, DetectorRecord, UsedImages
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.provenance import Provenance
from tests.conftest import MakeTable, jittered_glow, random_images

RECORD = DetectorRecord(
    model_sha256="abc", model_session="monday", provenance=Provenance(kedro_session="tuesday"), draws=2
)


def detector(**arrays: Any) -> Detector:
    return Detector({"nll": SCORES["nll"]}, {"nll": np.zeros(0)}, RECORD, **arrays)


def test_images_are_recorded_independently_of_order(make_table: MakeTable) -> None:
    table = make_table(random_images(6), 4)
    some, turned, others = (UsedImages.of(table.subset(np.array(rows))) for rows in ([0, 2, 3], [3, 0, 2], [0, 2, 4]))
    assert some == turned
    assert some.sha256 != others.sha256
    assert (some.count, some.table_count) == (3, 6)
    assert some.origin == table.record.origin


def test_detector_and_model_know_images_together() -> None:
    known = detector(validation_hashes=np.array([1, 5]), calibration_hashes=np.array([3]))
    assert known.seen_with(np.array([5, 9])) is not None
    assert np.array_equal(known.seen_with(np.array([5, 9])), [1, 3, 5, 9])  # type: ignore[arg-type]
    assert known.seen_with(None) is None


def test_unfitted_score_needs_no_detector() -> None:
    assert Detector.without_scores("abc").requested(["nll", "complexity"]) == [SCORES["nll"], SCORES["complexity"]]


def test_score_to_be_fitted_is_refused() -> None:
    with pytest.raises(GlowPipelineError, match=r"^ood\.scores=typicality: not fitted in detector tuesday; let"):
        detector().requested(["nll", "typicality"])


def test_detector_of_another_model_is_refused() -> None:
    detector().check_model("abc")
    with pytest.raises(GlowPipelineError, match=r"^glow_detector: detector tuesday is of model monday, and not"):
        detector().check_model("abd")


@pytest.mark.parametrize(
    "score", [score for score in SCORES.values() if score.cost == "one pass"], ids=lambda s: s.name
)
def test_compressing_scores_say_so(score: Score) -> None:
    """One that compressed without saying so would be used with other codecs than it was fitted with."""
    images = random_images(3) >> 4
    batch = ModelledBatch(jittered_glow(), images, torch.zeros(3), torch.zeros(images.shape), traces=True)
    score.describe(batch)
    assert ("codecs" in {function.__module__.rpartition(".")[2] for function in batch._computed}) is score.compresses
