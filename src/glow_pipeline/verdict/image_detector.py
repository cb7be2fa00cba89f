"""A detector for Python: verdicts on files or arrays, as the pipeline `score` gives them."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import MAX_PIXELS, UnreadableImageError, decode
from glow_pipeline.images.file_formats import FileFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.sources.names import Names
from glow_pipeline.parameters import ScoreParameters
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.arrays import images_of_array, one_image
from glow_pipeline.verdict.grey_range import with_grey_range
from glow_pipeline.verdict.judge import Explanation, Judge
from glow_pipeline.verdict.listing import ListedFiles, list_files
from glow_pipeline.verdict.score_rows import frame_of, values_of
from glow_pipeline.verdict.scored_files import FileScorer
from glow_pipeline.verdict.stored_parts import StoredParts
from glow_pipeline.verdict.table import verdict_table
from glow_pipeline.verdict.worth import Worth, check_enough, worth_of

Array = NDArray[np.uint8] | Tensor
File = str | os.PathLike[str]

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
        images: File | Sequence[File] | Array,
        *,
        false_alarm_rate: float = DEFAULTS.false_alarm_rate,
        false_discovery_rate: float = DEFAULTS.false_discovery_rate,
    ) -> pd.DataFrame:
        """Return the table of verdicts, one row an image, the most suspicious first: that of the pipeline `score`.

        Its columns are in docs/verdict.md; its `attrs` have the rates. A file that cannot be read is a row with the
        reason. Reasons to doubt the verdicts are logged as warnings.

        Args:
            images: a folder, a file or a pattern; a list of files; or an array, uint8 of shape (N, H, W), (N, H, W, C)
                or (N, C, H, W), C = 1 or 3, whose rows are called `image 0`, `image 1`, ... Arrays of other sizes
                than the model's are prepared as files are.
            false_alarm_rate: largest share of images that belong which are called outliers, on average.
            false_discovery_rate: of Benjamini-Hochberg over all images.

        Raises:
            GlowPipelineError: there is no image, an array of another type or shape, or too few calibration images for
                the rate.
        """
        parameters = _parameters(false_alarm_rate, false_discovery_rate)
        check_enough(len(self.judge.calibration), false_alarm_rate)
        if isinstance(images, np.ndarray | Tensor):
            rows, doubts = self._rows_of_array(images)
        else:
            rows, doubts = self._rows_of_files(_listed(images))
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
        return worth_of(
            table, self.judge.detector, self.judge.main.name, _parameters(*(table.attrs[name] for name in RATES))
        )

    def explain(self, image: File | Array, n_nearest: int = 3) -> Explanation:
        """Explain one image: its reason, the surprise of each pixel, and calibration images that are most like it.

        Args:
            image: a file, or an array (H, W), (H, W, C) or (C, H, W) as `score` takes them.
            n_nearest: number of calibration images, as far as the detector has kept so many.

        Raises:
            GlowPipelineError: it cannot be read, or is of another type or shape; or n_nearest is negative.
        """
        if n_nearest < 0:
            raise GlowPipelineError(f"n_nearest={n_nearest}: give 0 or more")
        image_format = self.judge.image_format
        if isinstance(image, np.ndarray | Tensor):
            pixels = one_image(image, image_format.channels)
        else:
            image_format, doubts = with_grey_range(image_format, _listed([image]), MAX_PIXELS, 0)
            for warning in doubts:
                logger.warning("%s", warning)
            try:
                content = Path(image).expanduser().read_bytes()
                pixels = decode(content, grey_range=image_format.range, background=image_format.background)[None]
            except UnreadableImageError as problem:
                raise GlowPipelineError(f"{image}: {problem}; give another file") from None
            except OSError as problem:
                raise GlowPipelineError(f"{image}: {problem.strerror}; give an image file") from None
        (explanation,) = self.judge.explained(prepare(pixels, image_format), n_nearest)
        return explanation

    def _rows_of_files(self, listed: ListedFiles) -> tuple[pd.DataFrame, list[str]]:
        image_format, doubts = with_grey_range(self.judge.image_format, listed, MAX_PIXELS, 0)
        scorer = FileScorer(self.judge, listed, image_format, BATCH_SIZE, num_workers=0, max_pixels=MAX_PIXELS)
        with TemporaryDirectory() as folder:
            return scorer.score(StoredParts(Path(folder))), doubts

    def _rows_of_array(self, array: Array) -> tuple[pd.DataFrame, list[str]]:
        judge = self.judge
        images = images_of_array(array, judge.image_format.channels)
        n, channels, height, width = images.shape
        if images.shape[1:] != judge.image_format.shape:
            logger.info(
                "Images of shape %s are prepared as files are: %s", tuple(images.shape[1:]), judge.image_format.key
            )
        file_format = FileFormat("array", width, height, "grey" if channels == 1 else "colour")

        def batches() -> Iterator[Tensor]:
            for batch in images.split(BATCH_SIZE):
                yield prepare(batch, judge.image_format)

        frames, first = [], 0
        with judge.threads(BATCH_SIZE, n), tqdm(total=n, desc="score", unit="img", delay=2, leave=False) as bar:
            for judged in judge.judged(batches()):
                here = np.arange(first, first + len(judged.p_values))
                frames.append(frame_of(judge, values_of(judged, [file_format] * len(here)), here))
                first += len(here)
                bar.update(len(here))
        rows = pd.concat(frames).drop(columns=columns.PATH)
        rows.insert(0, columns.FILE, pd.Series([f"image {i}" for i in range(n)], dtype="string"))
        return rows, []


def _listed(images: File | Sequence[File]) -> ListedFiles:
    if isinstance(images, str | os.PathLike):
        return list_files(os.fspath(images))
    kinds = [type(image) for image in images] if isinstance(images, Sequence) else [type(images)]
    wrong = next((kind.__name__ for kind in kinds if not issubclass(kind, str | os.PathLike)), None)
    if wrong is not None or not kinds:
        what = "an empty list" if wrong is None else f"a list with {wrong}" if isinstance(images, Sequence) else wrong
        raise GlowPipelineError(
            f"images: {what}; give a folder, a file or a pattern, a list of files, or one array of all images"
        )
    # Absolute names, which may be in any folder.
    paths = [os.path.abspath(os.path.expanduser(os.fspath(image))) for image in images]  # noqa: PTH100, PTH111
    return ListedFiles(Path(os.path.commonpath([os.path.dirname(path) for path in paths])), Names(paths))  # noqa: PTH120


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
