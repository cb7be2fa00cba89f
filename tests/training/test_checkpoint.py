"""The files from which a training resumes."""

import hashlib
import math
import os
import pickle
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.checkpoint import HEADER_KEY, Checkpoint, read_checkpoint, write_checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.history import History
from glow_pipeline.training.model_file import read_model
from glow_pipeline.training.named_checkpoint import check_resume
from tests.training.helpers import checkpoint, checkpoint_record

ROW = {"epoch": 1, "lr": 0.1, "grad_norm": math.inf, "step": 7}
RECORD = checkpoint_record(
    history=History([ROW], steps=7, best_val_bits_per_dim=1 / 3), identity={"seed": 0, "ingest.size": None}
)
TENSORS = {
    "float": torch.tensor([[0.1, -0.0], [math.nan, -math.inf]]),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "bfloat": torch.tensor([0.3], dtype=torch.bfloat16),
    "int": torch.tensor([2**31 - 1], dtype=torch.int32),
    "long": torch.tensor([-(2**63)]),
    "uint8": torch.tensor([255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3.0),
    "none": torch.empty(0, 2),
}


def bits_of(tensor: Tensor) -> list[int]:
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(GlowPipelineError) as refused:
        read_checkpoint(path)
    line = str(refused.value)
    assert str(path) in line
    assert len(line.splitlines()) == 1
    return line


def named(folder: Path, step: int, content: bytes) -> Path:
    """A file of this content under the name of a checkpoint, with the content's own digest."""
    path = folder / f"step_{step:09d}.{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    path.write_bytes(content)
    return path


# One file -------------------------------------------------------------------------------------


def test_checkpoint_is_read_as_written(tmp_path: Path) -> None:
    transposed = torch.arange(6.0).reshape(2, 3).T
    vector = torch.arange(6.0)  # others are views of it, as the parameters are of the optimizer's
    views = {"head": vector[:2], "tail": vector[2:], "transposed": transposed}
    path = write_checkpoint(tmp_path, Checkpoint({**TENSORS, **views}, RECORD))
    read = read_checkpoint(path)
    assert read.tensors.keys() == {*TENSORS, *views}
    for name, tensor in {**TENSORS, **views}.items():
        assert read.tensors[name].dtype == tensor.dtype, name
        assert read.tensors[name].shape == tensor.shape, name
        assert bits_of(read.tensors[name]) == bits_of(tensor), name
    assert (read.record, read.step, read.path) == (RECORD, 7, path)


def test_record_can_be_read_alone(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, Checkpoint(TENSORS, RECORD))
    assert read_checkpoint(path, with_tensors=False) == Checkpoint({}, RECORD, path)


def test_name_holds_step_and_digest(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, Checkpoint(TENSORS, RECORD))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"step_000000007.{digest[:16]}.safetensors"
    assert list(tmp_path.iterdir()) == [path]


CONTENT = save(TENSORS, metadata={HEADER_KEY: "{}"})


@given(bit=st.integers(0, 8 * len(CONTENT) - 1))
@example(bit=0)  # of the header's length,
@example(bit=8 * 8)  # of the header,
@example(bit=8 * len(CONTENT) - 1)  # of the last tensor
def test_any_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    path = write_checkpoint(tmp_path_factory.mktemp("flipped"), Checkpoint(TENSORS, RECORD))
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content.tobytes())
    assert "damaged, its SHA-256 is not the one in its name" in refusal(path)


@given(length=st.integers(0, len(CONTENT) - 1))
@example(length=0)
def test_truncated_file_is_noticed(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = write_checkpoint(tmp_path_factory.mktemp("cut"), Checkpoint(TENSORS, RECORD))
    os.truncate(path, length)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", save(TENSORS), save(TENSORS, metadata={"of": "another"}), save({}, metadata={HEADER_KEY: "{"})],
)
def test_other_file_with_right_digest_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "not a checkpoint of this project" in refusal(named(tmp_path, 1, content))


def test_other_name_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"anything")
    assert "not a checkpoint; these are called step_<step>.<digest>.safetensors" in refusal(tmp_path / "weights.pt")
    assert "no such file" in refusal(tmp_path / f"step_{1:09d}.{'0' * 16}.safetensors")


def test_disk_error_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object) -> NoReturn:
        raise OSError(5, "Input/output error")

    folder = TrainingFolder(tmp_path)
    path = folder.write(checkpoint(1), 3)
    monkeypatch.setattr("glow_pipeline.training.checkpoint.sha256", unreadable)
    assert "cannot be read (Input/output error)" in refusal(path)
    assert folder.newest() is None


# Pickles --------------------------------------------------------------------------------------


class Payload:
    """When it is unpickled, a file appears."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._proof}",)


@pytest.mark.parametrize("kind", ["torch.save", "pickle"])
def test_pickle_is_refused_and_not_executed(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    proof, folder = tmp_path / "proof", TrainingFolder(tmp_path / "training")
    folder.claim()
    good = folder.write(checkpoint(1), 3)
    if kind == "pickle":
        content = pickle.dumps(Payload(proof))
        pickle.loads(content)
    else:
        torch.save({"model": Payload(proof)}, tmp_path / "saved")
        content = (tmp_path / "saved").read_bytes()
        torch.load(tmp_path / "saved", weights_only=False)
    assert proof.exists(), "the payload works"
    proof.unlink()

    bad = named(folder.path, 2, content)
    assert "not a checkpoint of this project" in refusal(bad)
    newest = folder.newest()
    assert newest is not None
    assert newest.path == good
    assert str(bad) in caplog.text
    with pytest.raises(GlowPipelineError, match="not a checkpoint of this project"):
        check_resume(Parameters.model_validate({"train": {"resume": str(bad)}}))
    with pytest.raises(GlowPipelineError, match=str(bad)) as refused:
        read_model(bad)
    assert len(str(refused.value).splitlines()) == 1
    assert not proof.exists()


OLD_FORMATS = Path(__file__).parents[1] / "old_formats"


@pytest.mark.parametrize(
    ("name", "written_in", "commit"),
    [
        ("step_000000020.24b297debc285572.safetensors", 1, "0318a04092b55a73b2d8ad669244b9f358186d99"),
        ("step_000000002.2a650d77079403ca.safetensors", 2, "45db261714a1444096096ba4d0353e73257ad81a"),
    ],
)
def test_checkpoint_of_an_earlier_format_names_its_commit(name: str, written_in: int, commit: str) -> None:
    assert refusal(OLD_FORMATS / name) == (
        f"{OLD_FORMATS / name}: a checkpoint of format {written_in}, and this version reads 3; resume it with the "
        f"commit that wrote it ({commit}), or start a new training with train.resume=never"
    )


def test_damaged_record_is_named(tmp_path: Path) -> None:
    content = save({}, metadata={HEADER_KEY: '{"format": 3, "record": {"identity": {}, "train_table": 5}}'})
    assert refusal(named(tmp_path, 1, content)).endswith(
        ": its record cannot be read (train_table); use the checkpoint before it"
    )
