"""From a person's own images to verdicts on them."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL
import torch
from matplotlib.figure import Figure

from glow_pipeline.device import describe_device, use_device
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.outliers.benchmark.scored_sets import COMPUTING, code_digest, fingerprint_of
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.parameters import Parameters, ScoreParameters
from glow_pipeline.pipelines.scoring import images_at_once
from glow_pipeline.plots.batches import batches_figure
from glow_pipeline.provenance import Provenance
from glow_pipeline.stores import store_at
from glow_pipeline.training.distributed.machines import n_processes
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.verdict.batch import Occasion, batch_of
from glow_pipeline.verdict.batch_file import add_batch, history_folder
from glow_pipeline.verdict.explained_files import FileExplainer
from glow_pipeline.verdict.file_parts import score_files as score_in_parts
from glow_pipeline.verdict.grey_range import with_grey_range
from glow_pipeline.verdict.heat_map_files import HeatMapFiles
from glow_pipeline.verdict.history import history_table, points_of
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.listing import ListedFiles, check_listed, list_files
from glow_pipeline.verdict.report import Report
from glow_pipeline.verdict.score_facts import ScoreFacts
from glow_pipeline.verdict.score_rows import contents_of, findings_of
from glow_pipeline.verdict.scored_files import FileScorer
from glow_pipeline.verdict.shown import ShownImage
from glow_pipeline.verdict.stored_parts import StoredParts
from glow_pipeline.verdict.table import seen_by, verdict_table
from glow_pipeline.verdict.worth import Worth, check_enough, worth_of
from glow_pipeline.workers.fingerprint import Fingerprint, report_others

# The code that the rows of files depend on.
CODE = (*COMPUTING, "verdict/judge.py", "verdict/file_parts.py", "verdict/scored_files.py", "verdict/score_rows.py")

logger = logging.getLogger(__name__)


def list_images(score: ScoreParameters) -> ListedFiles:
    """List the files that `score.images` names."""
    check_listed(score.images)
    listed = list_files(str(score.images))
    if listed.passed_over:
        logger.info("score.images=%s: passed over: %s", score.images, listed.left_out)
    return listed


def score_files(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    listed_files: ListedFiles,
    image_format: ImageFormat,
    score_progress: Path,
    parameters: Parameters,
) -> tuple[pd.DataFrame, ScoreFacts]:
    """Return one row a file, in the order of the list, and facts of all files together.

    Finished files are stored, and a later command with the same model and detector does not score them again.

    Raises:
        HelperFinished: this command has scored its share (`workers.engine=array`), and not all others have, or another
            one continues.
    """
    judge = judge_of(glow_model, glow_detector, parameters)
    check_enough(len(judge.calibration), parameters.score.false_alarm_rate)
    ood, ingest = parameters.ood, parameters.ingest
    image_format, guessed = with_grey_range(image_format, listed_files, ingest.max_pixels, ingest.num_workers)
    batch_size = images_at_once(glow_model.flow, ood)
    scorer = FileScorer(
        judge,
        listed_files,
        image_format,
        batch_size,
        ingest.num_workers,
        ingest.max_pixels,
        parameters.train.threads,
    )
    fingerprint = _fingerprint(judge, listed_files, image_format, parameters)
    parts = StoredParts(store_at(score_progress / fingerprint.key))
    if parameters.score.on_resume == "restart":
        parts.forget()
    processes = n_processes(ood.devices, judge.device, "ood.devices")
    if parameters.workers.engine == "array":
        report_others(store_at(score_progress), f"score {parameters.score.images}", fingerprint)
    scored = score_in_parts(scorer, parts, parameters.workers.choice, processes)
    findings = findings_of(scored)
    notes, warnings = list(findings.notes(image_format)), [f"{line}." for line in findings.warnings(image_format)]
    for note in notes:
        logger.info("score.images=%s: %s", parameters.score.images, note)
    if listed_files.passed_over:
        notes.append(f"passed over: {listed_files.left_out}")
    return scored, ScoreFacts(image_format, notes, [*guessed, *warnings])


def judge_files(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    file_scores: pd.DataFrame,
    score_facts: ScoreFacts,
    parameters: Parameters,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return the table of verdicts, twice for its two files, and what the verdicts are worth."""
    judge = judge_of(glow_model, glow_detector, parameters)
    table = verdict_table(file_scores, judge, parameters.score)
    worth = worth_of(table, glow_detector, judge.main.name, parameters.score, glow_model.trained_on)
    with_facts = worth.model_copy(update={"warnings": [*worth.warnings, *score_facts.warnings]})
    return table, table, with_facts.model_dump()


def add_to_history(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    file_scores: pd.DataFrame,
    score_worth: dict[str, Any],
    score_batches: Path,
    provenance: Provenance,
    parameters: Parameters,
) -> tuple[pd.DataFrame, Figure]:
    """Add the batch to the history of its detector, and return that with its figure; or of this batch alone."""
    judge, score = judge_of(glow_model, glow_detector, parameters), parameters.score
    occasion = Occasion(str(provenance.kedro_session), datetime.now(UTC), str(score.images))
    known = np.concatenate([*seen_by(judge).values()])
    folder_p_value = score_worth["folder_p_value"]
    batch = batch_of(file_scores, judge.main.column, known, occasion, score.false_alarm_rate, folder_p_value)
    batches = [batch]
    if score.history:
        batches = add_batch(history_folder(score_batches, glow_detector, judge.main.name), batch)
    else:
        logger.info("score.history=false: score_history and its figure are of these images alone, which are not added")
    table = history_table(batches, judge.calibration, glow_detector.record.seed, score.drift_rate)
    title = f"{glow_model.record.dataset}: batches judged by {judge.main.name}, detector {glow_detector.record.version}"
    return table, batches_figure(points_of(table), score.drift_rate, title)


def explain_files(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    file_scores: pd.DataFrame,
    scored_files: pd.DataFrame,
    score_facts: ScoreFacts,
    parameters: Parameters,
) -> tuple[list[ShownImage], HeatMapFiles]:
    """Return the images that the report shows, and the heat maps that `score.heatmaps` requests.

    These are drawn when they are stored: all of them together would not fit into memory.
    """
    score, ood, ingest = parameters.score, parameters.ood, parameters.ingest
    image_format = score_facts.image_format
    judge = None if score.heatmaps == "none" else judge_of(glow_model, glow_detector, parameters)
    batch_size = images_at_once(glow_model.flow, ood)
    explainer = FileExplainer(
        judge,
        scored_files,
        image_format,
        batch_size,
        ingest.num_workers,
        ingest.max_pixels,
        parameters.train.threads,
        contents_of(file_scores),
    )
    with memory_in_one_line(f"ood.batch_size={batch_size}", "lower it"):
        shown = list(explainer.explained(score.shown))
    if score.heatmaps == "all":
        n = explainer.n_readable
        return shown, HeatMapFiles(scored_files, lambda: explainer.explained(n), n, image_format.n_bits)
    drawn = [] if judge is None else shown
    return shown, HeatMapFiles(scored_files, lambda: drawn, len(drawn), image_format.n_bits)


def write_report(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    scored_files: pd.DataFrame,
    score_facts: ScoreFacts,
    score_worth: dict[str, Any],
    shown_images: list[ShownImage],
    parameters: Parameters,
    provenance: Provenance,
) -> tuple[str, Figure]:
    """Return the report as a page, and the contact sheet."""
    main, *_ = glow_detector.requested(parameters.verdict_scores)
    report = Report(
        images=str(parameters.score.images),
        scored=scored_files,
        worth=Worth.model_validate(score_worth),
        shown=shown_images,
        model=glow_model.record,
        detector=glow_detector,
        score=main,
        made_in=provenance,
        notes=score_facts.notes,
    )
    return report.html(), report.contact_sheet()


def judge_of(model: TrainedGlow, detector: Detector, parameters: Parameters) -> Judge:
    """Return the judge of the command: the model on the device, with the scores of ood.score and score.scores."""
    device = use_device(parameters.device)
    model.flow.to(device).eval()
    return Judge(model, detector, device, parameters.verdict_scores)


def _fingerprint(judge: Judge, listed: ListedFiles, image_format: ImageFormat, parameters: Parameters) -> Fingerprint:
    """Return what differs if the scores of an unchanged file may differ."""
    depends_on = {
        "detector": judge.detector.record.model_dump(mode="json"),
        "scores": judge.scores,
        "folder": str(listed.folder).encode(errors="surrogateescape").hex(),
        "image_format": image_format.model_dump(mode="json"),
        "max_pixels": parameters.ingest.max_pixels,
        "device": describe_device(judge.device),
        "codecs": codec_versions(),
        "libraries": {"pillow": PIL.__version__, "torch": torch.__version__},
        "code": code_digest(judge.requested, CODE),
    }
    return fingerprint_of(depends_on)
