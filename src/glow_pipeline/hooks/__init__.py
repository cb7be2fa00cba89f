"""What happens around a run: early checks, what it is about and goes on with, the MLflow record, the closing lines."""

from glow_pipeline.hooks.closing import ClosingHook
from glow_pipeline.hooks.early_checks import EarlyChecksHook
from glow_pipeline.hooks.images import ImagesHook
from glow_pipeline.hooks.per_run import PerRunHooks
from glow_pipeline.hooks.searching import SearchingHook
from glow_pipeline.hooks.tracking import TrackingHook
from glow_pipeline.hooks.training import TrainingHook

__all__ = [
    "ClosingHook",
    "EarlyChecksHook",
    "ImagesHook",
    "PerRunHooks",
    "SearchingHook",
    "TrackingHook",
    "TrainingHook",
]
