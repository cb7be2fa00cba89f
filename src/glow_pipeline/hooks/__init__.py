"""What happens around a run: early checks, the images' spec, the MLflow record, the closing lines."""

from glow_pipeline.hooks.closing import ClosingHook
from glow_pipeline.hooks.early_checks import EarlyChecksHook
from glow_pipeline.hooks.images import ImagesHook
from glow_pipeline.hooks.tracking import TrackingHook

__all__ = ["ClosingHook", "EarlyChecksHook", "ImagesHook", "TrackingHook"]
