"""The preparation that all nodes share which score images."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
import torch

from glow_pipeline.density import BATCH_PIXELS, scoring_batch, scoring_threads
from glow_pipeline.device import describe_device, use_device
from glow_pipeline.errors import GlowPipelineError, HelperFinished
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.outliers.benchmark.scored_sets import (
    digest_of,
    fingerprint_of,
    images_digest,
    scores_depend_on,
)
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.score_parts import ScoreParts, Scorer
from glow_pipeline.outliers.score_table import MOST_IN_MEMORY, ScoreTable
from glow_pipeline.outliers.scored_images import scores_in_memory
from glow_pipeline.parameters import OodParameters, TrainParameters, WorkersParameters
from glow_pipeline.stores import Place, store_at
from glow_pipeline.training.distributed.machines import n_processes
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.workers.array import describe_help
from glow_pipeline.workers.engines import finish
from glow_pipeline.workers.fingerprint import report_others
from glow_pipeline.workers.part_work import Seat

logger = logging.getLogger(__name__)


def images_at_once(flow: Glow, ood: OodParameters) -> int:
    """Return how many images to score at once, and log the number once if it is chosen here for a GPU.

    Where the memory of a GPU limits it, it is a power of two, so that the same command chooses the same number when a
    little more or less memory is free: scores that are stored in parts are those of batches of one size.
    """
    n, device = scoring_batch(flow, ood.batch_size), next(flow.parameters()).device
    if ood.batch_size is None and device.type != "cpu":
        _, height, width = flow.image_shape
        if n < BATCH_PIXELS // (height * width):
            n = 2 ** (n.bit_length() - 1)
        _announce(n, describe_device(device))
    return n


@cache  # a command scores several tables
def _announce(n: int, device: str) -> None:
    logger.info("ood.batch_size=null: %s images are scored at once on %s", f"{n:,}", device)


@contextmanager
def flow_and_batches(
    model: TrainedGlow,
    images: ImageTable,
    ood: OodParameters,
    train: TrainParameters,
    device: str,
    *,
    at_most_as_in_training: bool = False,
) -> Iterator[tuple[Glow, Batches]]:
    """Yield the flow and the batches of a table on the device, with the number of threads that scores them fastest.

    Args:
        model: the model.
        images: the table; may be empty.
        ood, train, device: parameters of the command.
        at_most_as_in_training: score no more images at once than a training does, if `ood.batch_size` is larger.

    Raises:
        NotEnoughMemoryError: an allocation in the block failed.
    """
    resolved = use_device(device)
    flow = model.flow.to(resolved)
    batch_size = images_at_once(flow, ood)
    if at_most_as_in_training:
        batch_size = min(batch_size, scoring_batch(flow))
    batches = Batches(images, batch_size, resolved)
    with memory_in_one_line(f"ood.batch_size={batch_size}", "lower it"):
        if len(images):
            with scoring_threads(flow, batches, train.threads):
                yield flow, batches
        else:
            yield flow, batches


def scoring_work(
    model: TrainedGlow,
    detector: Detector,
    other_models: OtherModels,
    tables: Sequence[ImageTable],
    progress: Place,
    ood: OodParameters,
    train: TrainParameters,
    seed: int,
    device: str,
    workers: WorkersParameters,
) -> ScoreParts:
    """Return the work of scoring tables by one model.

    Args:
        model, detector, other_models: the model, its fitted scores, and the models that some scores compare it with.
        tables: the images.
        progress: folder or address for a folder of finished parts for each table, by all that its scores depend on.
        ood, train, seed, device, workers: parameters of the command.

    Raises:
        GlowPipelineError: the detector is of another model, or a score is not fitted.
    """
    detector.check_model(weights_sha256(model.flow.state_dict()))
    resolved = use_device(device)
    scorer = Scorer(
        model.flow,
        detector.requested(ood.score_names),
        replace(other_models, trained_on=np.empty(0, dtype=np.int64)),  # many, and no score needs them
        seed,
        ood.draws,
        images_at_once(model.flow.to(resolved), ood),
        resolved.type,
        train.threads,
    )
    depends_on = scores_depend_on(
        detector, other_models, ood.score_names, seed=seed, draws=ood.draws, device=describe_device(resolved)
    )
    depends_on["batch_size"] = scorer.batch_size
    images = [images_digest(table) for table in tables]
    digests = [digest_of({**depends_on, "images": digest}) for digest in images]
    stores = [
        store_at(progress / f"{table.record.name}_{digest}") for table, digest in zip(tables, digests, strict=True)
    ]
    return ScoreParts(scorer, tables, stores, workers.part_images, fingerprint_of({**depends_on, "images": images}))


def carry_out(
    work: ScoreParts, progress: Place, devices: int | Literal["auto"], workers: WorkersParameters
) -> list[pd.DataFrame | ScoreTable]:
    """Score the tables of a work, and return a row an image of each, in memory unless they are many.

    What takes more than about a minute is stored part by part: the same command finds finished parts again, and several
    processes, commands or machines may share the work.

    Args:
        work: the work.
        progress: folder or address where commands that share it leave word of each other.
        devices: `ood.devices`.
        workers: who works.

    Raises:
        HelperFinished: this command has done its share, and parts of others are missing.
        GlowPipelineError: parts were removed meanwhile.
    """
    if workers.engine == "processes" and work.is_small:
        return [_score_here(work.scorer, table) for table in work.tables]
    _announce_stored(work)
    if workers.engine == "array" and work.missing():
        report_others(store_at(progress), work.title, work.fingerprint)
    processes = n_processes(devices, torch.device(work.scorer.device), "ood.devices")
    if not finish(work, workers.engine, workers.of, processes):
        if workers.engine != "array":
            raise GlowPipelineError(
                f"{progress}: scores that were just stored there are gone; type the same command again"
            )
        logger.info("%s", describe_help(work, workers.of))
        raise HelperFinished
    return [scored.frame() if len(scored) <= MOST_IN_MEMORY else scored for scored in work.scored()]


def _score_here(scorer: Scorer, images: ImageTable) -> pd.DataFrame:
    with scorer.scoring(images, Seat(), f"score {images.record.name}") as batches:
        return scores_in_memory(images, scorer.joined(list(batches)))


def _announce_stored(work: ScoreParts) -> None:
    """Log how many images have their scores already."""
    total = sum(work.sizes)
    stored = total - sum(work.sizes[part] for part in work.missing())
    if stored:
        logger.info(
            "%s: %s of %s images were scored before with the same model and parameters, and keep their scores",
            *(work.title, f"{stored:,}", f"{total:,}"),
        )
