"""Stored models beside the one that a command is about: of other training seeds, or of other images."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import stored_versions
from glow_pipeline.outliers.detector import Detector, needs_fit
from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.parameters import changeable_on_resume, flattened
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import MODEL_FILE, TrainedGlow, read_model, read_record
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.training.stored_detectors import newest_detector

LENGTH = ("train.n_epochs", "train.early_stopping")  # may change on resume, and make another model
PLACES = ("ingest.path", "ingest.eval_path", "ingest.name")


class ModelWithDetector(NamedTuple):
    """A trained flow, and the fitted scores that belong to it."""

    model: TrainedGlow
    detector: Detector


def newest_model(models: Path, dataset: str) -> Path | None:
    """Return the file of a dataset's newest model.

    Args:
        models: folder of the models of all datasets.
        dataset: name of the images, with classes.
    """
    return next(iter(stored_versions(models / dataset / MODEL_FILE)), None)


def detector_of(model: Path, scores: Sequence[str], draws: int) -> Path | None:
    """Return the file of a stored model's newest detector; None if the model has none and these scores need none.

    Args:
        model: file of the model.
        scores: names of the scores to compute.
        draws: `ood.draws`.

    Raises:
        GlowPipelineError: a score has to be fitted, and is not in the newest detector, or with other draws or codecs.
    """
    to_fit = {name for name in scores if needs_fit(name)}
    found = newest_detector(model, stored_weights_sha256(model))
    if found is None:
        _check_fitted(model, to_fit, draws)
        return None
    compressing = {name for name in to_fit if SCORES[name].compresses}
    unusable = to_fit if found.record.draws != draws else to_fit - set(found.scores)
    unusable |= compressing if found.record.codecs != codec_versions() else set()
    _check_fitted(model, unusable, draws)
    return found.path


def read_with_detector(model: Path, scores: Sequence[str], draws: int) -> ModelWithDetector:
    """Read a stored model and its newest detector; the arguments are those of `detector_of`.

    Raises:
        GlowPipelineError: as `detector_of`.
    """
    detector = detector_of(model, scores, draws)
    if detector is None:
        return ModelWithDetector(read_model(model), Detector.without_scores(stored_weights_sha256(model)))
    return ModelWithDetector(read_model(model), read_detector(detector))


def _check_fitted(model: Path, unfitted: Collection[str], draws: int) -> None:
    if unfitted:
        names = "+".join(sorted(unfitted))
        drawn = "" if draws == 1 else f",ood.draws={draws}"
        raise GlowPipelineError(
            f"{model}: its scores {names} are not fitted with ood.draws={draws} and the codecs that are installed; "
            f"type `kedro run --pipelines calibrate --params dataset={model.parents[2].name},"
            f"stored_model={model.parent.name},ood.scores={names}{drawn}`"
        )


def other_seeds(versions: Path, record: ModelRecord, n: int) -> list[Path]:
    """Return the files of the newest models of other seeds that were trained like this one, newest first.

    Args:
        versions: folder of all versions of the dataset's models.
        record: record of the model.
        n: number of other seeds.

    Raises:
        GlowPipelineError: there are fewer.
    """
    found: dict[object, Path] = {}
    own = record.parameters["seed"]
    for path in stored_versions(versions):
        try:
            other = read_record(path)
        except GlowPipelineError:  # damaged; a run that wants it says so
            continue
        seed = other.parameters["seed"]
        if seed != own and seed not in found and trained_alike(other, record):
            found[seed] = path
    if len(found) < n:
        seeds = [own, *found]
        free = next(seed for seed in range(n + len(seeds)) if seed not in seeds)
        raise GlowPipelineError(
            f"benchmark.seeds={n + 1}: of models trained like {record.provenance.kedro_session} there are those with "
            f"seed={' and seed='.join(map(str, seeds))}; train another with seed={free} and otherwise the same "
            f"parameters, or lower benchmark.seeds"
        )
    return list(found.values())[:n]


def trained_alike(one: ModelRecord, other: ModelRecord) -> bool:
    """Return whether two models were trained on the same images with the same parameters, whatever their seeds."""
    same_images = one.train_table.origin.makes_the_same(other.train_table.origin)
    return same_images and _learned_with(one) == _learned_with(other)


def _learned_with(record: ModelRecord) -> dict[str, Any]:
    left_out = {"seed", *PLACES, *(changeable_on_resume() - set(LENGTH))}
    return {name: value for name, value in flattened(record.parameters).items() if name not in left_out}
