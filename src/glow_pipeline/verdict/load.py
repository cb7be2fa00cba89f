"""Loading of a stored model with its detector."""

import logging
from collections.abc import Sequence
from pathlib import Path

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import typed_path
from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.outliers.scores.registry import RECOMMENDED
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import MODEL_FILE, read_model, read_record
from glow_pipeline.training.models_with_detectors import newest_model
from glow_pipeline.training.named_model import model_at
from glow_pipeline.training.shipped_models import shipped_model, shipped_models
from glow_pipeline.training.stored_detectors import newest_detector
from glow_pipeline.verdict.image_detector import ImageDetector
from glow_pipeline.verdict.judge import Judge

MODELS = Path("data", "06_models")

logger = logging.getLogger(__name__)


def load_detector(
    model: str | Path,
    *,
    detector: str | Path | None = None,
    scores: Sequence[str] = (RECOMMENDED,),
    device: str = "auto",
) -> ImageDetector:
    """Load a stored model and the newest of its detectors.

    Args:
        model: the path of a `.safetensors` model; a folder that has one, or versions of one (the newest is taken); or
            a name, such as `mnist`: the newest model of this dataset in the project's `data/06_models`, else the one
            that is shipped as `models/mnist`. The project is the working directory or one above it.
        detector: the path of another detector of the model.
        scores: names of the scores in the table; the first carries the verdict.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        GlowPipelineError: there is no such model, score or device; or it has no detector, or another model's.
    """
    if isinstance(scores, str) or not scores:
        raise GlowPipelineError(f"scores={scores!r}: give a list of names, such as ['{RECOMMENDED}']")
    path = find_model(model)
    read_record(path)  # names what is wrong with the file before its weights are read for the digest
    detector = find_detector(path) if detector is None else detector
    trained, resolved = read_model(path), use_device(device)
    trained.flow.to(resolved)
    return ImageDetector(Judge(trained, read_detector(Path(detector)), resolved, tuple(scores)))


def find_detector(model: Path) -> Path:
    """Return the file of a model's newest detector.

    Raises:
        GlowPipelineError: it has none.
    """
    found = newest_detector(model, stored_weights_sha256(model))
    if found is None:
        raise GlowPipelineError(
            f"{model}: this model has no detector; make one: kedro run --pipelines calibrate --params "
            f"dataset=<the model's>,stored_model={model}"
        )
    return found.path


def find_model(model: str | Path) -> Path:
    """Return the file of the model that `load_model` and `load_detector` are given.

    A name is that of a model of this project, the newest of these images, or else of a shipped one.

    Raises:
        GlowPipelineError: there is none, and the line names those that there are; or a shipped one is damaged.
    """
    if (found := model_at(typed_path(model))) is not None:
        return found
    here, name = Path.cwd(), str(model)
    models = next((folder / MODELS for folder in (here, *here.parents) if (folder / MODELS).is_dir()), None)
    if Path(name).name == name:
        if models is not None and (found := newest_model(models, name)) is not None:
            logger.info("%s: the newest of this project, %s", name, found)
            return found
        if (found := shipped_model(name)) is not None:
            logger.info("%s: the shipped one, %s", name, found)
            return found
    known = sorted({file.parents[2].name for file in models.glob(f"*/{MODEL_FILE}/*/{MODEL_FILE}")}) if models else []
    raise GlowPipelineError(
        f"{model}: no model; give the path of a .safetensors model or of its folder, the name of a dataset with a "
        f"model in {MODELS} ({', '.join(known) or 'there is none here'}), or that of a shipped model "
        f"({', '.join(shipped_models()) or 'there is none here'})"
    )
