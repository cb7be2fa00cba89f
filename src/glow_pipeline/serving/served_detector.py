"""A model with its detector, which answers requests with verdicts."""

import logging
import math
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pydantic import BaseModel

from glow_pipeline.device import use_device
from glow_pipeline.outliers.conformal.guarantee import smallest_p
from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.serving.request import RefusedRequestError, RequestReader
from glow_pipeline.training.model_file import read_model
from glow_pipeline.verdict import Judge
from glow_pipeline.verdict.columns import NORMAL, OUTLIER
from glow_pipeline.verdict.table import seen_by

MODEL, DETECTOR = "model", "detector"  # the artifacts
RATE = "false_alarm_rate"  # the parameter of a request
Image = str | list[Any]  # as JSON has them; in Python also bytes and arrays
JUDGED_AT_ONCE = 64
# MLflow warns that it does not check the elements of such a list; `RequestReader` does.
logging.getLogger("mlflow.types.type_hints").setLevel(logging.ERROR)


class Verdict(BaseModel):
    """The answer for one image.

    Attributes:
        score: as in the table of the pipeline `score`; None: infinite, as the flow overflows on the image.
        p_value: conformal.
        verdict: `outlier` if the p-value is at most the false-alarm rate, else `normal`.
        reason: in which statistics the image differs most.
        copy_of: `training image` or `calibration image` if the image is an exact copy of one.
        false_alarm_rate: the rate of the verdict.
    """

    score: float | None = None
    p_value: float
    verdict: str
    reason: str
    copy_of: str | None = None
    false_alarm_rate: float


class ServedDetector(PythonModel):
    """A judge behind MLflow's scoring server. Requests may come in several threads; one at a time is judged.

    It is made without a model, which `load_context` reads from its two files.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model and its detector, and fold the flow's weights once for all requests.

        Raises:
            GlowPipelineError: they do not belong together, or the detector is of other versions of the codecs.
        """
        model = read_model(Path(context.artifacts[MODEL]))
        detector = read_detector(Path(context.artifacts[DETECTOR]))
        config = context.model_config
        device = use_device(config["device"])
        model.flow.to(device)
        self.judge = Judge(model, detector, device, (config["score"],))
        self._seen = {name: np.sort(seen) for name, seen in seen_by(self.judge).items()}
        self._reader = RequestReader(model.record.image_format, config["max_pixels"])
        self._lock, self._folded = Lock(), ExitStack()
        self._folded.enter_context(model.flow.unchanging())

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 # MLflow's
        model_input: list[Image],
        params: dict[str, Any] | None = None,
    ) -> list[Verdict]:
        """Judge the images of a request, in their order.

        Args:
            model_input: as `RequestReader.read` takes them.
            params: `false_alarm_rate`.

        Raises:
            RefusedRequestError: an image cannot be read, or the rate is impossible.
        """
        rate = self._rate((params or {})[RATE])
        with self._lock:  # Pillow's limit and the flow's folded weights are of the whole process
            images = self._reader.read(model_input)
            batches = list(self.judge.judged(images.split(JUDGED_AT_ONCE)))
        return [
            Verdict(
                score=float(score) if math.isfinite(score) else None,
                p_value=float(p_value),
                verdict=OUTLIER if p_value <= rate else NORMAL,
                reason=reason,
                copy_of=self._copy_of(content_hash),
                false_alarm_rate=rate,
            )
            for batch in batches
            for content_hash, score, p_value, reason in zip(
                batch.content_hashes,
                next(iter(batch.scores.values())),
                batch.p_values,
                batch.reasons,
                strict=True,
            )
        ]

    def _rate(self, rate: float | None) -> float:
        n = len(self.judge.calibration)
        if rate is None or not smallest_p(n) <= rate < 1:
            typed = "null" if rate is None else f"{rate:g}"
            raise RefusedRequestError(
                f"params: {RATE}={typed}: expected {smallest_p(n):.3g} (1 / {n + 1:,}, as there are {n:,} calibration "
                f"images) or more, and less than 1"
            )
        return rate

    def _copy_of(self, content_hash: np.int64) -> str | None:
        for name, seen in reversed(self._seen.items()):  # the last one that knows it counts, as in the table
            if content_hash in seen[np.searchsorted(seen, content_hash) :][:1]:
                return name
        return None
