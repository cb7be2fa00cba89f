"""What happens around a run: early checks, the images' spec, the training to go on with, the MLflow record, the end."""

from glow_pipeline.hooks.closing import ClosingHook
from glow_pipeline.hooks.early_checks import EarlyChecksHook
from glow_pipeline.hooks.images import ImagesHook
from glow_pipeline.hooks.tracking import TrackingHook
from glow_pipeline.hooks.training import TrainingHook

__all__ = ["ClosingHook", "EarlyChecksHook", "ImagesHook", "TrackingHook", "TrainingHook"]
