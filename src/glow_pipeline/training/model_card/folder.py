"""The card in the folder of its model: written whole, and written again with the figures of later commands."""

import logging
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.files import sha256, written_whole
from glow_pipeline.training.model_card.card import CARD_FILE, SAMPLES_FILE, ModelCard
from glow_pipeline.training.model_card.page import MADE_BY, page_of
from glow_pipeline.training.model_card.results import DetectionResult, TrainingResult
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import MODEL_FILE, read_record
from glow_pipeline.training.shipped_models import shipped_name

RESULTS, TRAINING_FILE = "results", "training.json"
LOCK, PATIENCE = ".lock", 60.0  # seconds

_Result = TypeVar("_Result", bound=BaseModel)

logger = logging.getLogger(__name__)


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card of a model that has just been trained into the model's folder, the page last.

    Figures that other commands have added meanwhile stay on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK, timeout=PATIENCE):
        if card.samples_png is not None:
            _write(folder / SAMPLES_FILE, card.samples_png)
        if card.training is not None:
            _write_result(folder / RESULTS / TRAINING_FILE, card.training)
        _write_page(folder, _page(folder) if _detections(folder) else card.markdown)


def read_card(folder: Path) -> ModelCard:
    """Read the card in a model's folder.

    Raises:
        FileNotFoundError: there is none.
    """
    samples = folder / SAMPLES_FILE
    return ModelCard(
        (folder / CARD_FILE).read_text("utf-8"),
        samples.read_bytes() if samples.is_file() else None,
        _training(folder),
        folder.name,
    )


def add_detection(model: Path, result: DetectionResult) -> ModelCard | None:
    """Add the figures of a command to the card of a stored model; a model without a card gets one.

    The run that measured them has stored them already, so nothing here fails it: where no card can be written, one line
    says why.

    The card of a shipped model stays as it is.

    Args:
        model: file of the model.
        result: the figures.

    Returns:
        The new card; None where none was written.
    """
    folder = model.parent
    if model.absolute().parent.parent.name != MODEL_FILE:
        if shipped_name(model) is None:
            logger.info("Model card: not written, since %s is no version in a project's folder of models", model)
        return None
    try:
        with FileLock(folder / LOCK, timeout=PATIENCE):
            _write_result(folder / RESULTS / f"{result.pipeline}_{result.session}.json", result)
            return read_card(folder) if _write_page(folder, _page(folder)) else None
    except (OSError, GlowPipelineError) as error:  # filelock's Timeout is an OSError too
        logger.warning("Model card: %s has not the figures of this command (%s)", folder, first_line(error))
        return None


def _write_page(folder: Path, page: str) -> bool:
    """Write the page, unless a person has edited the one that is there; return whether it was written."""
    path = folder / CARD_FILE
    if path.is_file() and MADE_BY not in path.read_text("utf-8", errors="replace"):
        logger.info("Model card: %s was edited and stays as it is; new figures are in %s/", path, RESULTS)
        return False
    _write(path, page.encode())
    return True


def _page(folder: Path) -> str:
    model, training = folder / MODEL_FILE, _training(folder)
    digest = stored_weights_sha256(model) if training is None else training.weights_sha256
    has_samples = (folder / SAMPLES_FILE).is_file()
    return page_of(
        read_record(model), digest, training, _detections(folder), file_sha256=sha256(model), has_samples=has_samples
    )


def _training(folder: Path) -> TrainingResult | None:
    return _read(folder / RESULTS / TRAINING_FILE, TrainingResult)


def _detections(folder: Path) -> list[DetectionResult]:
    """Return the figures of all commands, by the names of their files."""
    paths = sorted(path for path in (folder / RESULTS).glob("[!.]*.json") if path.name != TRAINING_FILE)
    return [result for path in paths if (result := _read(path, DetectionResult)) is not None]


def _read(path: Path, kind: type[_Result]) -> _Result | None:
    """Return the figures in a file; None if there is no such file, or if another version wrote it."""
    if not path.is_file():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as invalid:
        first = invalid.errors()[0]
        place = ".".join(map(str, first["loc"]))
        logger.warning("%s: is left out of the model card (%s%s)", path, f"{place}: " if place else "", first["msg"])
        return None


def _write_result(path: Path, result: BaseModel) -> None:
    _write(path, result.model_dump_json(indent=2).encode())


def _write(path: Path, content: bytes) -> None:
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
