"""Stored models for tests of the Python interface, and images for them."""

from pathlib import Path

import torch

from glow_pipeline.api.image_model import ImageModel
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.training.model_file import MODEL_FILE, TrainedGlow, write_model
from tests.conftest import jittered_glow, model_record


def stored_model(folder: Path, **flow: object) -> Path:
    """Write a model of 1x8x8 images of 4 bits and return its file."""
    glow = jittered_glow(**flow)
    arguments = {name: value for name, value in flow.items() if name not in ("image_shape", "n_bits")}
    record = model_record(**arguments)
    channels, height, width = glow.image_shape
    image_format = ImageFormat(
        channels=channels, height=height, width=width, n_bits=glow.dequantization.n_bits, fit="resize"
    )
    path = folder / MODEL_FILE
    write_model(path, record.model_copy(update={"image_format": image_format}), glow.state_dict())
    return path


def image_model(**flow: object) -> ImageModel:
    """Return a model in memory, without a file."""
    return ImageModel(
        TrainedGlow(jittered_glow(**flow), model_record(**flow)), torch.device("cpu"), Path("absent.safetensors")
    )
