"""Code around a run: early checks, its images and training, its MLflow record, the closing lines."""

from glow_pipeline.hooks.per_run import PerRunHooks
from glow_pipeline.hooks.run import RunHook

__all__ = ["PerRunHooks", "RunHook"]
