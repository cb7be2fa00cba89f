"""A trained model in Python, without Kedro: its samples, bits per dimension, verdicts, latents and export."""

from glow_pipeline.api.image_model import ImageModel
from glow_pipeline.api.images import Images

__all__ = ["ImageModel", "Images"]
