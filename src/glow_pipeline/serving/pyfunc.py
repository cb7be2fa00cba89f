"""The code that MLflow stores beside the two files, and runs to load them ("models from code", without pickle)."""

from mlflow.models import set_model

from glow_pipeline.serving.served_detector import ServedDetector

set_model(ServedDetector())
