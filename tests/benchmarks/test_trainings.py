"""Rows of trained presets, what the tables show of them, and one training from its command to its row."""

from pathlib import Path

import pytest
from results.rows import Row
from results.table import complete
from results.trainings import (
    LIKELIHOOD_TABLE,
    _curve,
    bits_of_content,
    curves,
    expected_blocks,
    likelihood_blocks,
    stored,
)

from tests.benchmarks.tiny import with_tiny_preset
from tests.project import copy_project

ROW: Row = {
    "command": "kedro run --env mnist --pipelines train",
    "commit": "0123456",
    "date": "2026-11-27",
    "machine": "2 cores",
    "torch": "2.15.0",
    "version": "2026-11-27T12.00.00.000Z",
    "weights_sha256": "ab" * 32,
    "decided": {},
    "shape": [1, 32, 32],
    "n_bits": 8,
    "fit": "pad",
    "content_dimensions": 784,
    "K": 8,
    "L": 3,
    "hidden_channels": 64,
    "n_parameters": 1000,
    "epochs": 3,
    "best_epoch": 2,
    "test_bits_per_dim": 0.784,
    "val_bits_per_dim": 0.8,
    "n_test": 10000,
    "images_per_second": 1234,
    "device": "cpu (2 threads), float32",
    "curve": [[1, 100, 50.0, 0.95], [2, 200, 100.0, 0.8], [3, 300, 7200.0, 0.81]],
}


def lines_of(block: str) -> list[str]:
    return [line for line in block.splitlines() if line.startswith("|")]


def test_padded_images_have_bits_of_their_content() -> None:
    assert bits_of_content(ROW) == "<= 1.024"
    assert bits_of_content({**ROW, "content_dimensions": None}) == "not known"
    line = lines_of(likelihood_blocks({"mnist": ROW})["likelihood"])[2]
    assert line.startswith("| `mnist` | 1x32x32 | 8 | pad | 8 | 3 | 64 | 3 (2) | 0.784 | <= 1.024 | 1,234 |")


def test_row_names_command_weights_and_commit() -> None:
    line = lines_of(likelihood_blocks({"mnist": ROW})["origin"])[2]
    assert line.startswith("| `mnist` | `kedro run --env mnist --pipelines train` | 2026-11-27T12.00.00.000Z |")
    assert line.endswith("`abababababababab` | 0123456 | 2026-11-27 | 2 cores | the same |")


def test_row_of_a_changed_preset_is_marked() -> None:
    """conf/mnist has 12 epochs."""
    rows = {"mnist": {**ROW, "decided": {"train.n_epochs": 11, "model.L": 2}}, "gone": ROW}
    origins = lines_of(likelihood_blocks(rows)["origin"])[2:]
    assert [line.split(" | ")[-1] for line in origins] == ["`train.n_epochs` was 11 |", "removed |"]


def test_epoch_without_speed_takes_the_median() -> None:
    """Its training was stopped after its last step and before its validation."""
    rows = [
        {"epoch": epoch, "step": 10 * epoch, "images_per_second": speed, "val_bits_per_dim": 3.0}
        for epoch, speed in ((1, 100.0), (2, 0.0))
    ]
    assert [row[2] for row in _curve(rows, 10, 100.0)] == [1.0, 2.0]


def test_expected_bits_and_time_by_epoch() -> None:
    blocks = expected_blocks({"mnist": ROW})
    assert lines_of(blocks["expected"])[::2] == [
        "| preset; epoch | 1 | 2 | 3 | last |",
        "| mnist | 0.950 | 0.800 | 0.810 | 3: 0.810 |",
    ]
    assert lines_of(blocks["time"])[2].startswith("| mnist | 50 s | 2 min | 2.0 h | 2.0 h | 100 |")


def test_known_presets_come_first() -> None:
    lines = lines_of(likelihood_blocks({"cifar10": ROW, "mnist": ROW, "digits": ROW})["likelihood"])[2:]
    assert [line.split("`")[1] for line in lines] == ["digits", "mnist", "cifar10"]


def test_each_preset_has_a_curve() -> None:
    (axes,) = curves({"mnist": ROW, "digits": ROW}).axes
    assert [line.get_label() for line in axes.get_lines()] == ["digits, 8 bits", "mnist, 8 bits"]


def test_stored_training_is_a_row(finished_digits: Path, tmp_path: Path) -> None:
    """That of `tests.project.TINY_COMMAND`."""
    row = stored("tiny", with_tiny_preset(finished_digits, tmp_path))
    assert (row["K"], row["epochs"], row["shape"], row["fit"]) == (2, 1, (1, 8, 8), "resize")
    assert "--env digits" in row["command"]
    assert [point[:2] for point in row["curve"]] == [[1, 1280]]
    assert row["curve"][0][3] == pytest.approx(row["val_bits_per_dim"], abs=1e-4)


@pytest.mark.slow
def test_preset_is_trained_once(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (project / "conf" / "tiny").mkdir()
    (project / "conf" / "tiny" / "parameters.yml").write_text(
        "model: {K: 2, L: 2, hidden_channels: 8}\ntrain: {n_epochs: 1, warmup: 0.0}\n"
    )
    complete(LIKELIHOOD_TABLE, tmp_path, project, ["tiny"])
    row = LIKELIHOOD_TABLE.file(tmp_path).read()["tiny"]
    assert row["command"] == "kedro run --env tiny --pipelines train"
    complete(LIKELIHOOD_TABLE, tmp_path, project, ["tiny"])
    assert len(list((project / "data/06_models/digits/glow_model.safetensors").iterdir())) == 1
