"""A detector for Python: verdicts on files or arrays, as the pipeline `score` gives them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from pydantic import ValidationError
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.decoding_workers import Prepared
from glow_pipeline.images.findings import Findings
from glow_pipeline.parameters import ScoreParameters
from glow_pipeline.stores import FolderStore
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.file_parts import score_files
from glow_pipeline.verdict.grey_range import with_grey_range
from glow_pipeline.verdict.image_inputs import (
    ImageInput,
    ImagesInMemory,
    OneImage,
    given_images,
    log_findings,
    log_reshaped,
    one_given_image,
    prepared_images,
)
from glow_pipeline.verdict.judge import Explanation, Judge
from glow_pipeline.verdict.listing import ListedFiles
from glow_pipeline.verdict.score_rows import findings_of, frame_of, values_of
from glow_pipeline.verdict.scored_files import FileScorer
from glow_pipeline.verdict.stored_parts import StoredParts
from glow_pipeline.verdict.table import verdict_table
from glow_pipeline.verdict.worth import Worth, check_enough, worth_of

BATCH_SIZE = 64
DEFAULTS = ScoreParameters()
RATES = ("false_alarm_rate", "false_discovery_rate")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class ImageDetector:
    """Judges whether images belong to those that a model was trained on. `load_detector` makes one.

    Attributes:
        judge: the model with its detector.
    """

    judge: Judge

    def __repr__(self) -> str:
        judge, n = self.judge, len(self.judge.calibration)
        name, image_format = judge.model.record.dataset, judge.image_format.key
        return f"ImageDetector({name}, {image_format}, {judge.main.name}, {n:,} calibration images)"

    def score(
        self,
        images: ImageInput,
        *,
        false_alarm_rate: float = DEFAULTS.false_alarm_rate,
        false_discovery_rate: float = DEFAULTS.false_discovery_rate,
    ) -> pd.DataFrame:
        """Return the table of verdicts, one row an image, the most suspicious first: that of the pipeline `score`.

        Its columns are in docs/verdict.md; its `attrs` have the rates. A file that cannot be read is a row with the
        reason. Reasons to doubt the verdicts are logged as warnings.

        Args:
            images: a folder, a file or a pattern; a list of files; an array, uint8 of shape (N, H, W), (N, H, W, C)
                or (N, C, H, W), C = 1 or 3, or a list of arrays of one image each; or one or more of Pillow's images.
                Rows of images without a file are called `image 0`, `image 1`, ... Images of other sizes and colours
                than the model's are prepared as files are.
            false_alarm_rate: largest share of images that belong which are called outliers, on average.
            false_discovery_rate: of Benjamini-Hochberg over all images.

        Raises:
            GlowPipelineError: there is no image, or one of another type or shape, or too few calibration images for the
                rate.
        """
        parameters = _parameters(false_alarm_rate, false_discovery_rate)
        check_enough(len(self.judge.calibration), false_alarm_rate)
        given = given_images(images, self.judge.image_format.channels)
        if isinstance(given, ImagesInMemory):
            rows, doubts = self._rows_in_memory(given), list[str]()
        else:
            rows, doubts = self._rows_of_files(given)
        table = verdict_table(rows, self.judge, parameters)
        table.attrs |= {name: getattr(parameters, name) for name in RATES}
        for warning in [*self.worth(table).warnings, *doubts]:
            logger.warning("%s", warning)
        return table

    def worth(self, table: pd.DataFrame) -> Worth:
        """Return what a table of `score` is worth, at the rates that it was made with.

        Raises:
            GlowPipelineError: the table does not have its rates, as one that was read from a file.
        """
        if any(name not in table.attrs for name in RATES):
            raise GlowPipelineError("table: has no rates in its attrs; give a table as `score` returns it")
        judge, parameters = self.judge, _parameters(*(table.attrs[name] for name in RATES))
        return worth_of(table, judge.detector, judge.main.name, parameters, judge.model.trained_on)

    def explain(self, image: OneImage, n_nearest: int = 3) -> Explanation:
        """Explain one image: its reason, the surprise of each pixel, and calibration images that are most like it.

        Args:
            image: a file, an array (H, W), (H, W, C) or (C, H, W) as `score` takes them, or one of Pillow's images.
            n_nearest: number of calibration images, as far as the detector has kept so many.

        Raises:
            GlowPipelineError: it cannot be read, or is of another type or shape; or n_nearest is negative.
        """
        if n_nearest < 0:
            raise GlowPipelineError(f"n_nearest={n_nearest}: give 0 or more")
        given, image_format = one_given_image(image, self.judge.image_format.channels), self.judge.image_format
        if isinstance(given, ListedFiles):
            image_format, doubts = with_grey_range(image_format, given, MAX_PIXELS, 0)
            for warning in doubts:
                logger.warning("%s", warning)
        (prepared,) = prepared_images(given, image_format)
        if prepared.unreadable:
            raise GlowPipelineError(f"{image}: {prepared.unreadable['0']}; give an image file")
        log_findings(prepared.findings or Findings(), image_format)
        (explanation,) = self.judge.explained(prepared.images, n_nearest)
        return explanation

    def _rows_of_files(self, listed: ListedFiles) -> tuple[pd.DataFrame, list[str]]:
        image_format, doubts = with_grey_range(self.judge.image_format, listed, MAX_PIXELS, 0)
        scorer = FileScorer(self.judge, listed, image_format, BATCH_SIZE, num_workers=0, max_pixels=MAX_PIXELS)
        with TemporaryDirectory() as folder:
            rows = score_files(scorer, StoredParts(FolderStore(Path(folder))))
        log_findings(findings_of(rows), image_format)
        return rows, doubts

    def _rows_in_memory(self, given: ImagesInMemory) -> pd.DataFrame:
        judge, n, found = self.judge, len(given), Findings()
        chunks: list[Prepared] = []  # that were read and not yet judged

        def batches() -> Iterator[Tensor]:
            for chunk in given.prepared(judge.image_format):
                chunks.append(chunk)
                yield chunk.images

        frames = []
        with judge.threads(BATCH_SIZE, n), tqdm(total=n, desc="score", unit="img", delay=2, leave=False) as bar:
            for judged in judge.judged(batches()):
                chunk = chunks.pop(0)
                for findings in chunk.file_findings:
                    found.add(findings)
                frames.append(frame_of(judge, values_of(judged, chunk.formats), chunk.rows))
                bar.update(len(chunk.rows))
        log_reshaped(given, judge.image_format)
        log_findings(found, judge.image_format)
        rows = pd.concat(frames).drop(columns=columns.PATH)
        rows.insert(0, columns.FILE, pd.Series(given.shown, dtype="string"))
        return rows


def _parameters(false_alarm_rate: float, false_discovery_rate: float) -> ScoreParameters:
    """Return the parameters of verdicts.

    Raises:
        GlowPipelineError: a rate is not between 0 and 1.
    """
    try:
        return ScoreParameters(false_alarm_rate=false_alarm_rate, false_discovery_rate=false_discovery_rate)
    except ValidationError as invalid:
        (name,), value = invalid.errors()[0]["loc"], invalid.errors()[0]["input"]
        raise GlowPipelineError(f"{name}={value}: give a number between 0 and 1") from None
