"""The benchmark pipeline."""

from glow_pipeline.pipelines.benchmark.pipeline import create_pipeline

__all__ = ["create_pipeline"]
