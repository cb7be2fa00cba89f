"""The sample pipeline."""

from glow_pipeline.pipelines.sample.pipeline import create_pipeline

__all__ = ["create_pipeline"]
