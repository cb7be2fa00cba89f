"""A judge by the likelihood of a tiny flow, which takes milliseconds to make."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, modelled_batches
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batch
from glow_pipeline.images.content import content_hash
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap
from glow_pipeline.outliers.reasons import Reasons
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.outliers.scoring import Describer, described_batches, scores_of
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.verdict.judge import Judge
from tests.conftest import jittered_glow, model_record, random_images

NLL = SCORES["nll"].column


def nll_judge(n_calibration: int = 99) -> Judge:
    """Return a judge of 1x8x8 images of 4 bits, calibrated with noise."""
    flow = jittered_glow()
    images = random_images(n_calibration, seed=9) // 16
    hashes = np.sort(content_hash(images).numpy())
    record = DetectorRecord(model_sha256=weights_sha256(flow.state_dict()), codecs=codec_versions())
    model = TrainedGlow(flow, model_record(), np.empty(0, dtype=np.int64))
    unsorted = Judge(model, Detector({}, {"nll": np.zeros(1)}, record), torch.device("cpu"), ["nll"])
    (judged,) = unsorted.judged([images])
    detector = Detector({}, {"nll": np.sort(judged.scores[NLL])}, record, calibration_hashes=hashes)
    return Judge(model, detector, torch.device("cpu"), ["nll"])


def full_judge(n: int = 150, **flow: Any) -> Judge:
    """Return a judge by the recommended score and by nll, with heat map, reasons and kept images."""
    glow = jittered_glow(**flow)
    fitted_to, calibration = (random_images(n, seed=seed) // 16 for seed in (7, 8))
    model = TrainedGlow(glow, model_record(), np.sort(content_hash(fitted_to).numpy()))
    describers: list[Describer] = [SCORES["density_sum"], SCORES["nll"], Reasons()]

    def described(images: Tensor) -> Mapping[str, Numbers]:
        batch = Batch(images, torch.zeros(len(images), dtype=torch.int64))
        (numbers,) = described_batches(glow, [batch], describers, 0, 1, None)
        return numbers

    unfitted = SCORES["density_sum"]
    assert isinstance(unfitted, FittedScore)
    scores: list[Score] = [unfitted.fit(described(fitted_to)["density_sum"], 0), SCORES["nll"]]
    numbers = described(calibration)
    detector = Detector(
        {score.name: score for score in scores},
        {score.name: np.sort(scores_of(score, numbers[score.name])) for score in scores},
        DetectorRecord(model_sha256=weights_sha256(glow.state_dict()), codecs=codec_versions()),
        calibration_hashes=np.sort(content_hash(calibration).numpy()),
        heat_map=HeatMap().fit(traced(glow, fitted_to)).calibrate(traced(glow, calibration)),
        reasons=Reasons().calibrate(numbers["reasons"]),
        kept_images=calibration[:20].numpy(),
    )
    return Judge(model, detector, torch.device("cpu"), ["density_sum", "nll"])


def traced(glow: Glow, images: Tensor) -> Iterator[ModelledBatch]:
    return modelled_batches(glow, [Batch(images, torch.zeros(len(images)))], 0, None, traces=True)
