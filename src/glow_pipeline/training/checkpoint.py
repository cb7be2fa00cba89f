"""Checkpoints: files from which a training resumes to the same bits as if it had never stopped.

A checkpoint is a safetensors file whose name holds its step and the start of its own SHA-256, so that an incomplete or
altered file is recognised before anything of it is used. No file of another kind, least of all a pickle, is opened.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import rename_whole, sha256, written_whole
from glow_pipeline.training.records import CheckpointRecord

HEADER_KEY = "glow_pipeline_checkpoint"
FORMAT = 3  # 1, without a number, and 2: until November 2026
NAME = re.compile(r"step_(\d{9})\.([0-9a-f]{16})\.safetensors")
UNNAMED = "unnamed.safetensors"  # until its digest is known; the next one replaces what a kill leaves here


class OtherFormatError(GlowPipelineError):
    """A checkpoint that another version of the project has written, and can read."""


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    Attributes:
        tensors: weights, optimizer and all other numbers, by name.
        record: everything else.
        path: the file that it was read from.
    """

    tensors: dict[str, Tensor]
    record: CheckpointRecord
    path: Path | None = None

    @property
    def step(self) -> int:
        """Return the number of steps taken."""
        return self.record.history.steps


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint completely or not at all, and return its path."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    header = json.dumps({"format": FORMAT, "record": json.loads(checkpoint.record.model_dump_json())})
    unnamed = folder / UNNAMED
    with written_whole(unnamed) as temporary:
        save_file(tensors, temporary, metadata={HEADER_KEY: header})
    path = folder / f"step_{checkpoint.step:09d}.{sha256(unnamed)[:16]}.safetensors"
    rename_whole(unnamed, path)
    return path


def read_checkpoint(path: Path, *, with_tensors: bool = True, check: bool = True) -> Checkpoint:
    """Read a checkpoint, its tensors on the CPU, or its record alone.

    Args:
        path: path of the file.
        with_tensors: read its tensors too.
        check: check the file's digest; not needed if this command has done so, since it takes a second a gigabyte.

    Raises:
        OtherFormatError: another version of the project wrote it.
        GlowPipelineError: there is no such file, or it is damaged or not a checkpoint.
    """
    name = NAME.fullmatch(path.name)
    if name is None or not path.is_file():
        problem = "no such file" if name else "not a checkpoint; these are called step_<step>.<digest>.safetensors"
        raise GlowPipelineError(f"{path}: {problem}; give the path of a checkpoint, or the folder that holds them")
    try:
        if check and not sha256(path).startswith(name[2]):
            raise GlowPipelineError(
                f"{path}: damaged, its SHA-256 is not the one in its name; use the checkpoint before it"
            )
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()[HEADER_KEY])
            _check_format(path, header)
            record = CheckpointRecord.model_validate_json(json.dumps(header["record"]))
            tensors = {key: file.get_tensor(key) for key in file.keys()} if with_tensors else {}  # noqa: SIM118
    except OSError as error:
        raise GlowPipelineError(f"{path}: cannot be read ({error.strerror}); use the checkpoint before it") from None
    except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as other:
        raise GlowPipelineError(f"{path}: not a checkpoint of this project ({other}); use one that is") from None
    except ValidationError as invalid:
        where = ".".join(map(str, invalid.errors()[0]["loc"]))
        raise GlowPipelineError(f"{path}: its record cannot be read ({where}); use the checkpoint before it") from None
    return Checkpoint(tensors, record, path)


def _check_format(path: Path, header: dict[str, Any]) -> None:
    """Refuse other formats: a training resumes to the same bits only by the code that started it."""
    written_in = header.get("format", 1)
    if written_in != FORMAT:
        commit = header.get("record", header).get("provenance", {}).get("git_commit") or "unknown"
        raise OtherFormatError(
            f"{path}: a checkpoint of format {written_in}, and this version reads {FORMAT}; resume it with the commit "
            f"that wrote it ({commit}), or start a new training with train.resume=never"
        )
