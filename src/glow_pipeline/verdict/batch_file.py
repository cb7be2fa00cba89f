"""Batches of scored images in files, one a `score` command: safetensors with a record in the header."""

import json
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.verdict.batch import BatchRecord, ScoredBatch

HEADER_KEY = "glow_pipeline_batch"
FORMAT = 1


def history_folder(root: Path, detector: Detector, score: str) -> Path:
    """Return the folder of the batches that this detector has judged by this score: another one has another history.

    Args:
        root: folder of all histories of a model's images.
        detector: the detector, which is of one model.
        score: name of the main score.
    """
    record = detector.record
    return root / f"{record.model_sha256[:12]}_{record.version or 'unsaved'}_{score}"


def add_batch(folder: Path, batch: ScoredBatch) -> list[ScoredBatch]:
    """Add a batch to a history, and return that up to the batch: another command may have added a later one meanwhile.

    Raises:
        GlowPipelineError: as `read_batches`; then nothing is added, and the repeated command adds its batch once.
    """
    earlier = [one for one in read_batches(folder) if one.record.session < batch.record.session]
    write_batch(folder, batch)
    return [*earlier, batch]


def write_batch(folder: Path, batch: ScoredBatch) -> None:
    """Write a batch completely or not at all; one of the same session stays as it is."""
    path = folder / f"{batch.record.session}.safetensors"
    if path.exists():
        return
    header = {"format": FORMAT, **batch.record.model_dump(mode="json")}
    arrays = {"scores": batch.scores.astype("<f8"), "content_hashes": batch.content_hashes.astype("<i8")}
    content = save(arrays, metadata={HEADER_KEY: json.dumps(header)})
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def read_batches(folder: Path) -> list[ScoredBatch]:
    """Return all batches of a history in the order of their sessions.

    Raises:
        GlowPipelineError: a file is damaged, no batch, or of a format that is not read here.
    """
    return [_read_batch(path) for path in sorted(folder.glob("[!.]*.safetensors"))]


def _read_batch(path: Path) -> ScoredBatch:
    again = "move it out of this folder, then the history continues without it"
    try:
        with safe_open(path, framework="np") as file:
            record = json.loads((file.metadata() or {})[HEADER_KEY])
            written_in = record.pop("format")
            if written_in != FORMAT:
                raise GlowPipelineError(
                    f"{path}: a batch of format {written_in}, and this version of glow_pipeline reads {FORMAT}; {again}"
                )
            scores, content_hashes = file.get_tensor("scores"), file.get_tensor("content_hashes")
        return ScoredBatch(BatchRecord.model_validate_json(json.dumps(record)), scores, content_hashes)
    except (SafetensorError, ValidationError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as problem:
        invalid = problem.errors()[0]["loc"] if isinstance(problem, ValidationError) else problem
        raise GlowPipelineError(f"{path}: no complete batch of scored images ({invalid}); {again}") from None
