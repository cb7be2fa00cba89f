"""Loading of a stored model for Python."""

from pathlib import Path

from glow_pipeline.api.image_model import ImageModel
from glow_pipeline.device import use_device
from glow_pipeline.training.model_file import read_model
from glow_pipeline.verdict.load import find_model


def load_model(model: str | Path, *, device: str = "auto") -> ImageModel:
    """Load a stored model.

    Args:
        model: the path of a `.safetensors` model; a folder that has one, or versions of one (the newest is taken); or
            a name, such as `mnist`: the newest model of this dataset in the project's `data/06_models`, else the one
            that is shipped as `models/mnist`. The project is the working directory or one above it.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        GlowPipelineError: there is no such model or device, or its file is damaged or of another format.
    """
    path = find_model(model)
    trained, resolved = read_model(path), use_device(device)
    trained.flow.to(resolved)
    return ImageModel(trained, resolved, path)
