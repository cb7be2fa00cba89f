"""The score pipeline."""

from glow_pipeline.pipelines.score.pipeline import create_pipeline

__all__ = ["create_pipeline"]
