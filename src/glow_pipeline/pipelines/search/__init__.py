"""The search pipeline."""

from glow_pipeline.pipelines.search.pipeline import create_pipeline

__all__ = ["create_pipeline"]
