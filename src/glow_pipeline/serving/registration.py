"""Registration of a model with its detector as an MLflow model that answers requests."""

import base64
import io
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.version import Version
from PIL import Image

from glow_pipeline.device import resolve_device
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.serving.served_detector import DETECTOR, MODEL, RATE
from glow_pipeline.tracking.registered_models import CodeModel, RegisteredModel, register_code, registered_version
from glow_pipeline.tracking.runs import RunAddress
from glow_pipeline.training.model_file import TrainedGlow, write_model
from glow_pipeline.verdict import Judge
from glow_pipeline.verdict.worth import check_enough

CODE = Path(__file__).with_name("pyfunc.py")


class ServingSettings(NamedTuple):
    """Settings by which a registered model judges.

    Attributes:
        score: name of the score that carries the verdict.
        false_alarm_rate: of requests that name none.
        max_pixels: images with more are refused.
    """

    score: str
    false_alarm_rate: float
    max_pixels: int


def register(
    run: RunAddress, model: TrainedGlow, detector: Detector, settings: ServingSettings, versions: Mapping[str, str]
) -> RegisteredModel:
    """Register a model with its detector, or return the version under which they are registered already.

    Args:
        run: the run of this thread.
        model, detector, settings: what is registered.
        versions: package -> version that is installed; those that serve the model need the same.

    Raises:
        GlowPipelineError: the detector cannot judge by this score, or has too few calibration images for the rate.
        one of `failures.mlflow_failures()`: MLflow does not answer.
    """
    judge = Judge(model, detector, resolve_device("cpu"), (settings.score,))
    check_enough(len(judge.calibration), settings.false_alarm_rate)
    name = registered_name(model)
    tags = {
        "dataset": model.record.dataset,
        "model": str(model.record.provenance.kedro_session),
        "weights_sha256": detector.record.model_sha256,
        "detector": str(detector.record.version),
        "n_calibration": str(len(judge.calibration)),
        "score": settings.score,
        RATE: str(settings.false_alarm_rate),
        "max_pixels": str(settings.max_pixels),
    }
    found = registered_version(run, name, tags)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"glow_{name}.safetensors" for name in (MODEL, DETECTOR)}
        write_model(files[MODEL], model.record, model.flow.state_dict(), model.trained_on, model.calibration)
        write_detector(files[DETECTOR], detector)
        example = [example_file(model.record.image_format)], {RATE: settings.false_alarm_rate}
        config = {"score": settings.score, "device": "auto", "max_pixels": settings.max_pixels}
        return register_code(run, name, CodeModel(CODE, files, example, config, pinned(versions)), tags)


def registered_name(model: TrainedGlow) -> str:
    """Return the name of a model in the registry: `glow-digits`. MLflow takes no dots, slashes, colons or quotes."""
    return "glow-" + re.sub(r"[^\w-]", "_", model.record.dataset)


def example_file(image_format: ImageFormat) -> str:
    """Return a grey picture of the model's size as a PNG in base64: no image that anybody owns."""
    mode, grey = ("L", 128) if image_format.channels == 1 else ("RGB", (128, 128, 128))
    file = io.BytesIO()
    Image.new(mode, (image_format.width, image_format.height), grey).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def pinned(versions: Mapping[str, str]) -> list[str]:
    """Return pip's requirements of exactly these versions, but of this package, which no registry has.

    A build's local label (`2.11.0+cpu`) is left out, since registries have none.
    """
    others = {name: number for name, number in versions.items() if name not in ("python", "glow_pipeline")}
    return [f"{name}=={Version(number).public}" for name, number in others.items()]
