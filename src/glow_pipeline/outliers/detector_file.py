"""Detectors in files: safetensors with a record of the detector in the header.

The arrays are `fitted.<score>.<name>`, `calibration.<score>`, `heat_map.<name>`, `reasons.<name>`,
`images.validation` and `images.calibration` (hashes), and `images.kept` (pixels).
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.outliers.densities.density import part_of, with_prefix
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap
from glow_pipeline.outliers.reasons import Reasons
from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.outliers.scores.score import FittedScore, Numbers, Score

HEADER_KEY = "glow_pipeline_detector"
FORMAT = 1
AGAIN = "make the detector again: kedro run --pipelines calibrate"

logger = logging.getLogger(__name__)


def write_detector(path: Path, detector: Detector) -> None:
    """Write a detector completely or not at all."""
    arrays: dict[str, NDArray[Any]] = {
        "images.validation": detector.validation_hashes,
        "images.calibration": detector.calibration_hashes,
        "images.kept": detector.kept_images,
        **{f"calibration.{name}": values for name, values in detector.calibration.items()},
    }
    for name, score in detector.scores.items():
        if isinstance(score, FittedScore):
            arrays |= {f"fitted.{name}.{key}": value for key, value in score.fitted.items()}
    for part, values in (("heat_map", detector.heat_map), ("reasons", detector.reasons)):
        arrays |= {} if values is None else with_prefix(part, values.fitted)
    header = {"format": FORMAT, "scores": list(detector.scores), **detector.record.model_dump(mode="json")}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = save(contiguous, metadata={HEADER_KEY: json.dumps(header)})
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def read_detector_record(path: Path) -> tuple[DetectorRecord, list[str]]:
    """Read the record and the names of the scores alone, from the header.

    Raises:
        GlowPipelineError: the file is missing, damaged, no detector, or of a format that is not read here.
    """
    if not path.is_file():
        raise GlowPipelineError(f"{path}: no such file; {AGAIN}")
    try:
        with safe_open(path, framework="np") as file:
            header = (file.metadata() or {}).get(HEADER_KEY)
    except SafetensorError as damaged:
        raise GlowPipelineError(f"{path}: not a complete safetensors file ({damaged}); {AGAIN}") from None
    if header is None:
        raise GlowPipelineError(f"{path}: a safetensors file without a detector's record; {AGAIN}")
    try:
        record = json.loads(header)
        written_in = record.pop("format")
        if written_in != FORMAT:
            raise GlowPipelineError(
                f"{path}: a detector of format {written_in}, and this version of glow_pipeline reads {FORMAT}; {AGAIN}"
            )
        names = [str(name) for name in record.pop("scores")]
        return DetectorRecord.model_validate_json(json.dumps(record)), names
    except (ValidationError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as invalid:
        problem = invalid.errors()[0]["loc"] if isinstance(invalid, ValidationError) else invalid
        raise GlowPipelineError(f"{path}: its record cannot be read ({problem}); {AGAIN}") from None


def read_detector(path: Path) -> Detector:
    """Read a detector. A score that is not registered any more is left out with a warning.

    Raises:
        GlowPipelineError: as `read_detector_record`, or arrays are missing.
    """
    record, names = read_detector_record(path)
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in names:
        if name not in SCORES:
            logger.warning("%s: its score %s is not registered, and is left out", path, name)
    known = [name for name in names if name in SCORES]
    try:
        return Detector(
            {name: _score(name, arrays) for name in known},
            {name: arrays[f"calibration.{name}"] for name in known},
            record,
            arrays["images.validation"],
            arrays["images.calibration"],
            HeatMap(heat_map) if (heat_map := part_of(arrays, "heat_map")) else None,
            Reasons(reasons) if (reasons := part_of(arrays, "reasons")) else None,
            arrays["images.kept"],
        )
    except KeyError as missing:
        raise GlowPipelineError(f"{path}: has no array {missing}; {AGAIN}") from None


def _score(name: str, arrays: Mapping[str, Numbers]) -> Score:
    score, prefix = SCORES[name], f"fitted.{name}."
    if not isinstance(score, FittedScore):
        return score
    return replace(score, fitted={key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)})
