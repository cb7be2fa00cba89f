"""The card of a stored model: what it is, what it was trained on, how good it is, and how to use it."""

from glow_pipeline.training.model_card.card import ModelCard

__all__ = ["ModelCard"]
