"""From a trained model and its detector to a version in MLflow's registry."""

import logging
from typing import Any

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.parameters import Parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.tracking.failures import failure_line, mlflow_failures
from glow_pipeline.tracking.runs import current_run
from glow_pipeline.training.model_file import TrainedGlow

logger = logging.getLogger(__name__)


def register_detector(
    glow_model: TrainedGlow, glow_detector: Detector, parameters: Parameters, provenance: Provenance
) -> dict[str, Any]:
    """Register the model with its detector, unless they are registered already, and return name, version and address.

    Raises:
        GlowPipelineError: MLflow is switched off or does not answer, or the detector cannot judge images.
    """
    # Here, because MLflow's pyfunc takes seconds to import.
    from glow_pipeline.serving.registration import ServingSettings, register

    run = current_run()
    if run is None:
        raise GlowPipelineError("mlflow.yml: enabled=false: the registry is MLflow's; set it to true")
    settings = ServingSettings(
        score=parameters.verdict_scores[0],
        false_alarm_rate=parameters.score.false_alarm_rate,
        max_pixels=parameters.ingest.max_pixels,
    )
    try:
        registered = register(run, glow_model, glow_detector, settings, provenance.versions)
    except mlflow_failures() as error:
        raise GlowPipelineError(
            f"mlflow.yml: tracking_uri: no model could be registered there ({failure_line(error)}); correct the "
            f"address, or type the same command again"
        ) from None
    logger.info("%s %s", "Registered as" if registered.new else "Registered already, as", registered.uri)
    return {"name": registered.name, "version": registered.version, "uri": registered.uri, "new": registered.new}
