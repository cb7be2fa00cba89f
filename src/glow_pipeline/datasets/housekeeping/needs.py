"""Needs between stored versions: a detector of its model, results of theirs, a training of what it started from."""

import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from glow_pipeline.datasets.housekeeping.records import digest, local_records
from glow_pipeline.datasets.housekeeping.stored import DAY, Stored, Where, in_time
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector_file import read_detector_record
from glow_pipeline.tracking.stored_runs import StoredRun
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.model_file import read_record
from glow_pipeline.training.shipped_models import SHIPPED

MODEL, DETECTOR = "glow_model", "glow_detector"
TABLES = ("train_images", "test_images", "out_images", "calibrate_images")
AT_WORK = DAY  # seconds without a change, after which no command is at work on it any more
METRICS, BENCHMARK = "ood_metrics", "benchmark_csv"
MADE_BY_MODELS = ("model_session", "detector_session", "background_model", "ensemble_models")  # in ood_metrics

RecordOf = Callable[[Stored], Path]  # returns where the record of a model or detector, or figures, can be read


@dataclass(frozen=True)
class Need:
    """One stored thing needs another.

    Attributes:
        used: folder of what is needed.
        user: folder of what needs it; None: something that is not among the stored folders.
        why: in words, after the name of what is needed.
    """

    used: Where
    user: Where | None
    why: str


def unmet(removed: Collection[Where], needs: Iterable[Need]) -> list[Need]:
    """Return the needs of things that stay, for things that would be removed."""
    gone = set(removed)
    return [need for need in needs if need.used in gone and (need.user is None or need.user not in gone)]


def find_needs(stored: Iterable[Stored], runs: Mapping[str, StoredRun], now: datetime) -> list[Need]:
    """Return what stored things need, by their own records and by MLflow's.

    Args:
        stored: all that is stored.
        runs: version of a command -> its MLflow run.
        now: the present moment.
    """
    everything = list(stored)
    models = _by_version(everything, MODEL)
    detectors = _by_version(everything, DETECTOR)
    with local_records(
        [each for each in everything if each.entry in (MODEL, DETECTOR, METRICS, BENCHMARK)]
    ) as record_of:
        return [
            *_of_detectors(everything, models, record_of),
            *_of_figures(everything, models, detectors, record_of),
            *_of_runs(everything, models, runs),
            *_of_trainings(everything, record_of),
            *_of_commands_at_work(everything, now),
            *_of_other_projects(everything, runs),
        ]


def running(stored: Iterable[Stored]) -> list[Stored]:
    """Return the trainings in which a process is at work at this moment."""
    return [each for each, folder in _trainings(stored) if _is_locked(folder / "lock")]


def _trainings(stored: Iterable[Stored]) -> Iterator[tuple[Stored, Path]]:
    """Yield the trainings with their folders, which are always on a disk."""
    return ((each, each.path) for each in stored if each.kind == "training" and isinstance(each.path, Path))


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


def _by_version(stored: Iterable[Stored], entry: str) -> dict[str, list[Where]]:
    found: dict[str, list[Where]] = {}
    for each in stored:
        if each.entry == entry:
            found.setdefault(each.version, []).append(each.path)
    return found


def _of_detectors(stored: Iterable[Stored], models: Mapping[str, list[Where]], record_of: RecordOf) -> Iterator[Need]:
    for each in stored:
        if each.entry != DETECTOR:
            continue
        try:
            record, _ = read_detector_record(record_of(each))
        except GlowPipelineError:  # damaged: it can be used for nothing
            continue
        for model in models.get(str(record.model_session), []):
            yield Need(model, each.path, f"{each.name} is a detector of it")


def _of_figures(
    stored: Iterable[Stored],
    models: Mapping[str, list[Where]],
    detectors: Mapping[str, list[Where]],
    record_of: RecordOf,
) -> Iterator[Need]:
    for each in stored:
        if each.entry not in (METRICS, BENCHMARK):
            continue
        for version in _named_in(each.entry, record_of(each)):
            for used in (*models.get(version, []), *detectors.get(version, [])):
                if used != each.path:
                    yield Need(used, each.path, f"{each.name} has figures of it")


def _named_in(entry: str, path: Path) -> set[str]:
    """Return the versions of models and detectors that the figures in this file name."""
    if entry == METRICS:
        content = _json(path)
        values = [content.get(name) for name in MADE_BY_MODELS]
        flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
        return {str(one).partition(" ")[0] for one in flat if one is not None}
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8", errors="replace") as file, suppress(csv.Error):  # damaged
        return {row[name] for row in csv.DictReader(file) for name in ("model", "detector") if row.get(name)}
    return set()


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):  # none, or damaged: neither JSON nor UTF-8
        return {}
    return content if isinstance(content, Mapping) else {}


def _of_runs(
    stored: Iterable[Stored], models: Mapping[str, list[Where]], runs: Mapping[str, StoredRun]
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


def _of_trainings(stored: Sequence[Stored], record_of: RecordOf) -> Iterator[Need]:
    """Yield the needs of unfinished trainings, which can be resumed, and of what has started from a model."""
    started: list[tuple[str, Where, str]] = []
    for each, folder in _trainings(stored):
        if TrainingFolder(folder).finished:
            continue
        yield Need(each.path, None, "an unfinished training, which the same command resumes")
        if (origin := _started_from_of_training(folder)) is not None:
            started.append((origin, each.path, f"{each.name} (unfinished) started from it"))
    models = [each for each in stored if each.entry == MODEL]
    for each in models:
        try:
            origin = read_record(record_of(each)).started_from
        except GlowPipelineError:  # damaged
            continue
        if origin is not None:
            started.append((origin, each.path, f"{each.name} was trained from it"))
    origins = {origin.rpartition("sha256:")[2] for origin, _, _ in started if not origin.startswith(SHIPPED)}
    by_digest = _by_digest(models, origins)
    for origin, user, why in started:
        used = by_digest.get(origin.rpartition("sha256:")[2])
        if used is not None and used != user:
            yield Need(used, user, why)


def _by_digest(models: Iterable[Stored], digests: Collection[str]) -> dict[str, Where]:
    """Return the folders of the models that have these digests. Those in buckets, which are slow, come last."""
    found: dict[str, Where] = {}
    for each in sorted(models, key=lambda model: model.in_bucket is not None):
        if found.keys() >= set(digests):
            break
        if (its := digest(each)) in digests and its is not None:
            found[its] = each.path
    return found


def _of_commands_at_work(stored: Iterable[Stored], now: datetime) -> Iterator[Need]:
    """Yield needs of parts of image tables, and of scores in a bucket, that were changed lately."""
    for each in stored:
        shared = each.kind == "parts" or (each.kind == "progress" and each.in_bucket is not None)
        if shared and (seconds := now.timestamp() - each.changed()) < AT_WORK:
            yield Need(each.path, None, f"a command may be at work there, it was changed {in_time(seconds)} ago")


def _of_other_projects(stored: Iterable[Stored], runs: Mapping[str, StoredRun]) -> Iterator[Need]:
    """Yield needs of whoever else may use a bucket."""
    busy = [run.name for run in runs.values() if run.status == "RUNNING"]
    for each in stored:
        if each.in_bucket is None or each.kind != "version":
            continue
        if each.version not in runs:
            yield Need(each.path, None, "no MLflow run here has made it, so it may be of another project or clone")
        if busy and each.entry in TABLES:
            yield Need(each.path, None, f"MLflow run {busy[0]!r}, still RUNNING, may read it")


def _started_from_of_training(path: Path) -> str | None:
    try:
        newest = TrainingFolder(path).newest(with_tensors=False)
    except GlowPipelineError:  # of another version of the project
        return None
    return None if newest is None else newest.record.started_from
