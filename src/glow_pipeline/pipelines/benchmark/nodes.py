"""From a trained model and many sets of images to the matrix of pairs and scores."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from glow_pipeline.device import describe_device, resolve_device
from glow_pipeline.errors import GlowPipelineError, HelperFinished
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.outliers.benchmark.out_sets import CALIBRATION, kind_of, out_set_names, selection_of
from glow_pipeline.outliers.benchmark.pairs import matrix, names_of, with_seeds
from glow_pipeline.outliers.benchmark.scored_pair import ScoredPair
from glow_pipeline.outliers.benchmark.scored_sets import digest_of
from glow_pipeline.outliers.benchmark.summary import summary
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.metrics import METRICS
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.parameters import Parameters
from glow_pipeline.pipelines.benchmark.set_scorer import SetScorer, without_other_models
from glow_pipeline.pipelines.planning import plan_images
from glow_pipeline.plots.heat_map import heat_map
from glow_pipeline.stores import store_at
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.metric_names import DETECTION, in_group
from glow_pipeline.tracking.runs import RunAddress, current_run, end_run, start_child_run
from glow_pipeline.training.model_file import MODEL_FILE, TrainedGlow, read_record
from glow_pipeline.training.models_with_detectors import (
    ModelWithDetector,
    newest_model,
    other_seeds,
    read_with_detector,
)
from glow_pipeline.workers.array import let_one_continue

logger = logging.getLogger(__name__)


def ingest_out_sets(
    image_selection: ImageSelection,
    image_format: ImageFormat,
    raw_folder: Path,
    models_folder: Path,
    parameters: Parameters,
    folder_looks: FolderLooks,
) -> dict[str, TableWriter]:
    """Plan the tables of the published sets; they are decoded when the catalog saves them.

    For `benchmark.both_directions` also, in the format of each set's own model, the test images of the set (`in mnist`)
    and of the dataset (`out mnist`).
    """
    ingest, benchmark = parameters.ingest, parameters.benchmark

    def plan(selection: ImageSelection, of_model: ImageFormat) -> TableWriter:
        return plan_images(selection, "test", of_model, raw_folder, ingest, folder_looks)

    tables = {}
    for name in out_set_names(benchmark.out_datasets, image_selection, raw_folder):
        selection = selection_of(name)
        if selection is None:
            continue
        tables[name] = plan(selection, image_format)
        if benchmark.both_directions and (model := newest_model(models_folder, name)) is not None:
            own_format = read_record(model).image_format
            tables |= {f"in {name}": plan(selection, own_format), f"out {name}": plan(image_selection, own_format)}
    return tables


def score_sets(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    other_models: OtherModels,
    test_images: ImageTable,
    benchmark_images: dict[str, ImageTable],
    raw_folder: Path,
    models_folder: Path,
    benchmark_scores: Path,
    parameters: Parameters,
) -> list[ScoredPair]:
    """Score each set once by each model, unless an earlier command has; return the pairs, those of one set together.

    The other direction is without scores that compare with other models: those models are of this direction's images.

    Raises:
        HelperFinished: this command has done its share of all sets, and parts of others are missing or another one
            continues.
    """
    inside, benchmark = glow_model.record.train_table.image_selection, parameters.benchmark
    scores, draws = parameters.ood.score_names, parameters.ood.draws
    versions = models_folder / glow_model.record.dataset / MODEL_FILE
    others = other_seeds(versions, glow_model.record, benchmark.seeds - 1)
    subjects = [
        ModelWithDetector(glow_model, glow_detector),
        *(read_with_detector(path, scores, draws) for path in others),
    ]
    scorers = [SetScorer(subject, other_models, test_images, benchmark_scores, parameters) for subject in subjects]
    other_way = benchmark.both_directions and any(SCORES[name].needs is None for name in scores)
    pairs, without_model, complete = [], [], []
    for name in out_set_names(benchmark.out_datasets, inside, raw_folder):
        kind, images = kind_of(name, inside), benchmark_images.get(name)
        if name == CALIBRATION and not _all_calibrated(subjects, scores, requested=name in benchmark.out_datasets):
            continue
        pairs += [scorer.pair(name, kind, images) for scorer in scorers]
        if other_way and images is not None:
            model = newest_model(models_folder, name)
            if model is None:
                without_model.append(name)
                continue
            alone = without_other_models(parameters)
            subject = read_with_detector(model, alone.ood.score_names, draws)
            scorer = SetScorer(subject, OtherModels(), benchmark_images[f"in {name}"], benchmark_scores, alone)
            pairs.append(scorer.pair(inside.key, kind, benchmark_images[f"out {name}"]))
            complete.append(_scored_all(scorer))
    if without_model:
        logger.info("benchmark.both_directions: no stored model of %s", ", ".join(without_model))
    if not all([*map(_scored_all, scorers), *complete]):
        raise HelperFinished
    if parameters.workers.engine == "array":
        files = {path for pair in pairs for path in (pair.in_file, pair.outside) if isinstance(path, Path)}
        key = digest_of({"files": sorted(str(path.relative_to(benchmark_scores)) for path in files)})
        let_one_continue(store_at(benchmark_scores), key, "the benchmark", parameters.workers.of)
    return pairs


def _scored_all(scorer: SetScorer) -> bool:
    """Score the sets of a scorer, and return whether all have their scores: others may not have done their share."""
    try:
        scorer.score()
    except HelperFinished:
        return False
    return True


def measure_pairs(
    scored_pairs: list[ScoredPair], parameters: Parameters
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return a row a model, pair and score, for two files, and the summary; each pair has an MLflow run of its own."""
    scores = [SCORES[name] for name in parameters.ood.score_names]
    rows: list[dict[str, object]] = []
    for scored in tqdm(scored_pairs, desc="measure", unit="pair", delay=2, leave=False):
        pair = scored.read(scores)
        rows += [{**row, **scored.made_with} for row in pair.rows(parameters.ood.bootstrap, parameters.seed)]
    table = with_seeds(pd.DataFrame(rows))
    main, dataset = scores[0].name, scored_pairs[0].in_dataset
    for (inside, outside), pair_table in table.groupby(["in_dataset", "out_dataset"], sort=False):
        _record_pair(f"{inside} vs {outside}", pair_table, main)
    return table, table, {**summary(table, main, dataset), "device": describe_device(resolve_device(parameters.device))}


def plot_pairs(benchmark_table: pd.DataFrame, benchmark_metrics: dict[str, Any]) -> Figure:
    """Draw the AUROC of each score on each pair, near, far and control pairs apart."""
    wide = matrix(benchmark_table)
    ordered = wide.iloc[wide.index.get_level_values("kind").argsort(kind="stable")]
    dataset = benchmark_metrics["benchmark"]
    n_seeds = int(benchmark_table["n_seeds"].max())
    over = f", mean over {n_seeds} training seeds" if n_seeds > 1 else ""
    return heat_map(
        ordered.to_numpy(dtype=float),
        names_of(ordered, dataset),
        ordered.columns.tolist(),
        f"AUROC of each score, {dataset} against other images{over}",
        groups=ordered.index.get_level_values("kind").tolist(),
    )


def _all_calibrated(subjects: Iterable[ModelWithDetector], scores: Collection[str], *, requested: bool) -> bool:
    """Return whether all detectors have values of calibration images, of one of these scores at least.

    Raises:
        GlowPipelineError: one has none, and they were requested.
    """
    detectors = [subject.detector for subject in subjects]
    without = [each for each in detectors if not each.record.n_calibration or not each.calibration.keys() & set(scores)]
    if without and requested:
        missing = f"values of {'+'.join(scores)}" if without[0].record.n_calibration else "images"
        raise GlowPipelineError(
            f"benchmark.out_datasets={CALIBRATION}: detector {without[0].record.version} has no calibration {missing}; "
            f"leave it out, or let the pipeline calibrate make one that has"
        )
    return not without


def _record_pair(name: str, rows: pd.DataFrame, main: str) -> None:
    """Log a pair's metrics to a run of its own below this command's: plain names are those of the main score."""
    first = rows.drop_duplicates("score")
    params = {name: first[name].iloc[0] for name in ("in_dataset", "out_dataset", "kind", "n_in", "n_out", "n_seeds")}
    with _child_run(name, params) as run, MetricLogger(run) as logger:
        logged = [name for name in (*METRICS, "auroc_low", "auroc_high", "auroc_mean", "auroc_sd") if name in first]
        metrics = {
            metric if row["score"] == main else f"{metric}.{row['score']}": float(row[metric])
            for row in first.to_dict("records")
            for metric in logged
            if pd.notna(row[metric])
        }
        logger.log_metrics(in_group(DETECTION, metrics), step=0)


@contextmanager
def _child_run(name: str, params: Mapping[str, object]) -> Iterator[RunAddress | None]:
    run, status = start_child_run(current_run(), name, params), "KILLED"
    try:
        yield run
        status = "FINISHED"
    finally:
        end_run(run, status)
