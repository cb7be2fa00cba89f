"""Files of batches, and what of a command is put into them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.provenance import Provenance
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.batch import Occasion, batch_of
from glow_pipeline.verdict.batch_file import HEADER_KEY, add_batch, history_folder, read_batches, write_batch
from tests.verdict.batches import scored_batch


def test_batches_are_read_in_order_of_sessions(tmp_path: Path) -> None:
    batches = [scored_batch(number, np.array([0.5, np.inf, -3.0])) for number in (3, 1, 2)]
    for batch in batches:
        write_batch(tmp_path, batch)
    read = read_batches(tmp_path)
    assert [batch.record for batch in read] == [batches[i].record for i in (1, 2, 0)]
    np.testing.assert_array_equal(read[0].scores, batches[1].scores)
    np.testing.assert_array_equal(read[0].content_hashes, batches[1].content_hashes)


def test_batch_of_a_session_is_added_once(tmp_path: Path) -> None:
    write_batch(tmp_path, scored_batch(1, np.zeros(3)))
    write_batch(tmp_path, scored_batch(1, np.ones(5)))
    assert [len(batch.scores) for batch in read_batches(tmp_path)] == [3]


def test_history_ends_with_the_batch_that_is_added(tmp_path: Path) -> None:
    one, other, later = (scored_batch(number, np.zeros(3)) for number in (1, 2, 3))
    add_batch(tmp_path, one)
    write_batch(tmp_path, later)  # by another command, that is faster
    assert [batch.record for batch in add_batch(tmp_path, other)] == [one.record, other.record]
    assert len(read_batches(tmp_path)) == 3


def test_nothing_is_added_to_a_damaged_history(tmp_path: Path) -> None:
    (tmp_path / "2026.safetensors").write_bytes(b"half of")
    with pytest.raises(GlowPipelineError, match="no complete batch"):
        add_batch(tmp_path, scored_batch(1, np.zeros(3)))
    assert len(list(tmp_path.iterdir())) == 1


def test_unfinished_batch_is_not_read(tmp_path: Path) -> None:
    write_batch(tmp_path, scored_batch(1, np.zeros(3)))
    (tmp_path / ".1234.2026.safetensors").write_bytes(b"half of")
    assert len(read_batches(tmp_path)) == 1


def test_history_without_a_folder_is_empty(tmp_path: Path) -> None:
    assert read_batches(tmp_path / "none") == []


def damage(path: Path, kind: str) -> None:
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif kind == "newer":
        save_file(arrays, path, {HEADER_KEY: json.dumps(header | {"format": 99})})
    elif kind == "field":
        save_file(arrays, path, {HEADER_KEY: json.dumps(header | {"n_scored": "many"})})
    elif kind == "array":
        save_file({"scores": arrays["scores"]}, path, {HEADER_KEY: json.dumps(header)})
    else:
        save_file(arrays, path)


@pytest.mark.parametrize("kind", ["cut", "newer", "field", "array", "other"])
def test_damaged_batch_is_one_line(tmp_path: Path, kind: str) -> None:
    write_batch(tmp_path, scored_batch(1, np.zeros(3)))
    (path,) = tmp_path.iterdir()
    damage(path, kind)
    with pytest.raises(GlowPipelineError) as refused:
        read_batches(tmp_path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert "move it out of this folder" in line
    assert "\n" not in line


def test_each_detector_and_score_has_a_history(tmp_path: Path) -> None:
    def detector(model: str, version: str | None) -> Detector:
        return Detector({}, {}, DetectorRecord(model_sha256=model, provenance=Provenance(kedro_session=version)))

    cases = [("a" * 64, "monday", "nll"), ("b" * 64, "monday", "nll"), ("a" * 64, "tuesday", "nll")]
    cases += [("a" * 64, "monday", "typicality")]
    assert len({history_folder(tmp_path, detector(model, version), score) for model, version, score in cases}) == 4


def test_batch_leaves_out_known_and_unreadable() -> None:
    files = pd.DataFrame(
        {
            columns.UNREADABLE: pd.array([None, "empty file", None, None], dtype="string"),
            columns.CONTENT: pd.array([5, None, 6, 7], dtype="Int64"),
            columns.P_VALUE: [0.01, np.nan, 0.02, 0.7],
            "nll": [9.0, np.nan, 8.0, 1.0],
        }
    )
    occasion = Occasion("session", scored_batch(1, np.zeros(0)).record.date, "scans")
    batch = batch_of(files, "nll", np.array([6, 99]), occasion, 0.02, None)
    assert batch.scores.tolist() == [9.0, 1.0]
    assert batch.content_hashes.tolist() == [5, 7]
    record = batch.record
    assert (record.n_scored, record.n_unreadable, record.n_known, record.n_flagged) == (3, 1, 1, 2)
    assert (record.session, record.images, record.folder_p_value) == ("session", "scans", None)
