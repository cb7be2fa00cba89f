"""Outlier scores: the interface, the registry, and one file a score."""

from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.outliers.scores.score import FittedScore, Numbers, Score

__all__ = ["SCORES", "FittedScore", "Numbers", "Score"]
