"""The ood pipeline."""

from glow_pipeline.pipelines.ood.pipeline import create_pipeline

__all__ = ["create_pipeline"]
