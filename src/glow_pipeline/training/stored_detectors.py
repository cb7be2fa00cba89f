"""The detectors of a stored model: which file is the newest, and whether it can judge images here."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import stored_versions
from glow_pipeline.outliers.detector import DetectorRecord
from glow_pipeline.outliers.detector_file import read_detector_record

DETECTOR_FILE = "glow_detector.safetensors"  # name of a stored detector's file, and of the folder of its versions

logger = logging.getLogger(__name__)


class StoredDetector(NamedTuple):
    """A detector's file, and what its header says."""

    path: Path
    record: DetectorRecord
    scores: list[str]


def newest_detector(model: Path, digest: str, others: Iterable[Path] = ()) -> StoredDetector | None:
    """Return the newest detector of a stored model, or None.

    It is beside the model's file, in the folder of versions that belongs to the model's, or one of `others`. A detector
    that `calibrate` makes later comes before the one that was copied with the model. A file that cannot be read is
    passed over with a warning.

    Args:
        model: file of the model.
        digest: of its weights.
        others: files of detectors that may be of this model.
    """
    beside = model.with_name(DETECTOR_FILE)
    stored = dict.fromkeys([*stored_versions(model.absolute().parent.parent.parent / DETECTOR_FILE), *others])
    groups = [[beside] if beside.is_file() else [], sorted(stored, key=lambda path: path.parent.name, reverse=True)]
    found = [detector for group in groups for detector in islice(_of_model(group, digest), 1)]
    return max(found, key=lambda detector: detector.record.version or "", default=None)


def _of_model(paths: Iterable[Path], digest: str) -> Iterator[StoredDetector]:
    """Yield the detectors of this model among these files, in their order."""
    for path in paths:
        try:
            record, scores = read_detector_record(path)
        except GlowPipelineError as error:
            logger.warning("Passed over: %s", error)
            continue
        if record.model_sha256 == digest:
            yield StoredDetector(path, record, scores)
