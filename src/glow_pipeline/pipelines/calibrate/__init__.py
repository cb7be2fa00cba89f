"""The calibrate pipeline."""

from glow_pipeline.pipelines.calibrate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
