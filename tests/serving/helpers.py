"""A small judge, and images as requests have them."""

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.verdict import Judge
from tests.conftest import jittered_glow, model_record


def small_judge(
    score: str = "nll",
    calibration: np.ndarray | None = None,
    trained_on: np.ndarray | None = None,
    calibration_hashes: np.ndarray | None = None,
) -> Judge:
    """Return a judge of 1x8x8 images of 4 bits, with 99 calibration scores."""
    flow = jittered_glow()
    values = np.linspace(5.53, 5.60, 99) if calibration is None else calibration
    record = DetectorRecord(model_sha256=weights_sha256(flow.state_dict()), seed=3, codecs=codec_versions())
    hashes = np.empty(0, dtype=np.int64) if calibration_hashes is None else calibration_hashes
    detector = Detector({score: SCORES[score]}, {score: values}, record, calibration_hashes=hashes)
    return Judge(TrainedGlow(flow, model_record(), trained_on), detector, torch.device("cpu"), (score,))


def png(image: Tensor) -> str:
    """Return a grey image (1, h, w) or one in colour (3, h, w) as a PNG in base64."""
    array, file = image.permute(1, 2, 0).numpy(), io.BytesIO()
    Image.fromarray(array[:, :, 0] if len(image) == 1 else array).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
