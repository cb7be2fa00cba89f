"""Needs between stored versions: a detector of its model, results of theirs, a training of what it started from."""

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from glow_pipeline.datasets.housekeeping.stored import Stored
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.outliers.detector_file import read_detector_record
from glow_pipeline.tracking.stored_runs import StoredRun
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.model_file import read_record

MODEL, DETECTOR = "glow_model", "glow_detector"
TABLES = ("train_images", "test_images", "out_images", "calibrate_images")
MADE_BY_MODELS = ("model_session", "detector_session", "background_model", "ensemble_models")  # in ood_metrics


@dataclass(frozen=True)
class Need:
    """One stored thing needs another.

    Attributes:
        used: folder of what is needed.
        user: folder of what needs it; None: something that is not among the stored folders.
        why: in words, after the name of what is needed.
    """

    used: Path
    user: Path | None
    why: str


def unmet(removed: Collection[Path], needs: Iterable[Need]) -> list[Need]:
    """Return the needs of things that stay, for things that would be removed."""
    gone = set(removed)
    return [need for need in needs if need.used in gone and (need.user is None or need.user not in gone)]


def find_needs(stored: Iterable[Stored], runs: Mapping[str, StoredRun]) -> list[Need]:
    """Return what stored things need, by their own records and by MLflow's.

    Args:
        stored: all that is stored.
        runs: version of a command -> its MLflow run.
    """
    everything = list(stored)
    models = _by_version(everything, MODEL)
    detectors = _by_version(everything, DETECTOR)
    return [
        *_of_detectors(everything, models),
        *_of_figures(everything, models, detectors),
        *_of_runs(everything, models, runs),
        *_of_trainings(everything, models),
    ]


def running(stored: Iterable[Stored]) -> list[Stored]:
    """Return the trainings in which a process is at work at this moment."""
    return [each for each in stored if each.kind == "training" and _is_locked(each.path / "lock")]


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _by_version(stored: Iterable[Stored], entry: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for each in stored:
        if each.entry == entry:
            found.setdefault(each.version, []).append(each.path)
    return found


def _of_detectors(stored: Iterable[Stored], models: Mapping[str, list[Path]]) -> Iterator[Need]:
    for each in stored:
        if each.entry != DETECTOR:
            continue
        try:
            record, _ = read_detector_record(each.path / each.path.parent.name)
        except GlowPipelineError:  # damaged: it can be used for nothing
            continue
        for model in models.get(str(record.model_session), []):
            yield Need(model, each.path, f"{each.name} is a detector of it")


def _of_figures(
    stored: Iterable[Stored], models: Mapping[str, list[Path]], detectors: Mapping[str, list[Path]]
) -> Iterator[Need]:
    for each in stored:
        if each.kind != "version":
            continue
        for version in _named_in(each):
            for used in (*models.get(version, []), *detectors.get(version, [])):
                if used != each.path:
                    yield Need(used, each.path, f"{each.name} has figures of it")


def _named_in(stored: Stored) -> set[str]:
    """Return the versions of models and detectors that the figures of this version name."""
    path = stored.path / stored.path.parent.name
    if stored.entry == "ood_metrics":
        content = _json(path)
        values = [content.get(name) for name in MADE_BY_MODELS]
        flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
        return {str(one).partition(" ")[0] for one in flat if one is not None}
    if stored.entry == "benchmark_csv" and path.is_file():
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            return {row[name] for row in csv.DictReader(file) for name in ("model", "detector") if row.get(name)}
    return set()


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):  # none, or damaged: neither JSON nor UTF-8
        return {}
    return content if isinstance(content, Mapping) else {}


def _of_runs(
    stored: Iterable[Stored], models: Mapping[str, list[Path]], runs: Mapping[str, StoredRun]
) -> Iterator[Need]:
    for each in stored:
        run = runs.get(each.version)
        if run is None or each.kind != "version":
            continue
        for registered in run.registered:
            yield Need(each.path, None, f"{registered} in MLflow's registry is from this command")
        if run.status == "RUNNING":
            yield Need(each.path, None, f"MLflow run {run.name!r} of this command is still RUNNING")
        if run.stored_model is None or each.entry in TABLES:
            continue
        for model in models.get(run.stored_model, []):
            if model != each.path:
                yield Need(model, each.path, f"{each.name} was made with it")
    for run in runs.values():
        for model in models.get(str(run.stored_model), []):
            if run.status == "RUNNING":
                yield Need(model, None, f"MLflow run {run.name!r}, still RUNNING, uses it")
            for registered in run.registered:
                yield Need(model, None, f"{registered} in MLflow's registry was made of it")


def _of_trainings(stored: Iterable[Stored], models: Mapping[str, list[Path]]) -> Iterator[Need]:
    """Yield the needs of unfinished trainings, which can be resumed, and of what has started from a model."""
    started: list[tuple[str, Path, str]] = []
    for each in stored:
        if each.kind == "training" and not TrainingFolder(each.path).finished:
            yield Need(each.path, None, "an unfinished training, which the same command resumes")
            if (origin := _started_from_of_training(each.path)) is not None:
                started.append((origin, each.path, f"{each.name} (unfinished) started from it"))
        if each.entry == MODEL:
            try:
                origin = read_record(each.path / each.path.parent.name).started_from
            except GlowPipelineError:  # damaged
                origin = None
            if origin is not None:
                started.append((origin, each.path, f"{each.name} was trained from it"))
    if not started:
        return
    digests = {
        sha256(file): path for paths in models.values() for path in paths if (file := path / path.parent.name).is_file()
    }
    for origin, user, why in started:
        used = digests.get(origin.rpartition("sha256:")[2])
        if used is not None and used != user:
            yield Need(used, user, why)


def _started_from_of_training(path: Path) -> str | None:
    try:
        newest = TrainingFolder(path).newest(with_tensors=False)
    except GlowPipelineError:  # of another version of the project
        return None
    return None if newest is None else newest.record.started_from
