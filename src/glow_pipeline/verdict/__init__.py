"""Verdicts on a person's own images: does this image belong, how sure is that, where and why."""

from glow_pipeline.verdict.judge import Explanation, Judge, Judged

__all__ = ["Explanation", "Judge", "Judged"]
