"""Loading of a stored model with its detector."""

from collections.abc import Sequence
from pathlib import Path

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import stored_versions
from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.outliers.scores.registry import RECOMMENDED
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import MODEL_FILE, read_model, read_record
from glow_pipeline.training.models_with_detectors import newest_model
from glow_pipeline.training.stored_detectors import newest_detector
from glow_pipeline.verdict.image_detector import ImageDetector
from glow_pipeline.verdict.judge import Judge

MODELS = Path("data", "06_models")


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
            the name of a dataset with a model in the project's `data/06_models`, such as `mnist`. The project is the
            working directory or one above it.
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

    Raises:
        GlowPipelineError: there is none; the line names the datasets that have one.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        below = [path / MODEL_FILE, *stored_versions(path / MODEL_FILE)]
        versions = [file for file in [*below, *stored_versions(path)] if file.is_file() and file.name == MODEL_FILE]
        if versions:
            return versions[0]
    here = Path.cwd()
    models = next((folder / MODELS for folder in (here, *here.parents) if (folder / MODELS).is_dir()), None)
    if models is not None and path.name == str(model):
        named = newest_model(models, path.name)
        if named is not None:
            return named
    known = sorted({file.parents[2].name for file in models.glob(f"*/{MODEL_FILE}/*/{MODEL_FILE}")}) if models else []
    raise GlowPipelineError(
        f"{model}: no model; give the path of a .safetensors model or of its folder, or the name of a dataset with a "
        f"model in {MODELS} ({', '.join(known) or 'there is none here'})"
    )
