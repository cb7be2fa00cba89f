"""The options and the table of `benchmarks/speed.py`; nothing is timed here."""

import argparse
import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HARNESS = """
import os
import torch

class Peer:
    def __init__(self, K, hidden_channels):
        assert os.environ["PEERS"]
        self.m = torch.nn.Conv2d(3, hidden_channels, 3)
    def score(self, u8):
        return self.m(u8.float()).flatten(1).sum(1)
    def loss(self, u8):
        return self.score(u8).mean()
    def sample(self, n):
        raise {error}("two devices\\nmore")

ALL = {{"peer": Peer}}
"""


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("contenders")


@pytest.fixture
def speed(contenders: Any) -> Any:
    return importlib.import_module("speed")


def options(work: list[str], **given: int) -> argparse.Namespace:
    return argparse.Namespace(work=work, **dict.fromkeys(("K", "L", "hidden_channels", "batch_size")) | given)


def test_options_replace_values_of_a_preset(speed: Any) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    both = ["small", "large"]
    assert speed.works_of(options(both), cpu) == [(8, 3, 64, 64), (16, 3, 256, 16)]
    assert speed.works_of(options(both), cuda) == [(8, 3, 64, 128), (32, 3, 512, 64)]
    assert speed.works_of(options(["large"], batch_size=2), cpu) == [(16, 3, 256, 2)]
    assert speed.works_of(options(both, K=2, hidden_channels=16, batch_size=4), cpu) == [(2, 3, 16, 4)]


def test_rows_of_a_gpu_name_their_precision(contenders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each precision has a row; that of the default says in a note which one it is."""
    rows = contenders.builds_for(torch.device("cuda"))
    assert set(rows) > set(contenders.builds_for(torch.device("cpu")))
    for precision in ("float32", "tf32", "bfloat16"):
        assert rows[f"glow_pipeline, {precision}"].keywords == {"precision": precision}
    assert {name for name in rows if "autocast" in name} == {"normflows, autocast", "FrEIA, autocast"}


@pytest.mark.parametrize(("error", "raised"), [("RuntimeError", "CannotError"), ("ValueError", None)])
def test_only_runtime_errors_excuse_a_peer(
    contenders: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str, raised: str | None
) -> None:
    path = tmp_path / "harness.py"
    path.write_text(HARNESS.format(error=error))
    monkeypatch.setenv("PEERS", str(tmp_path))
    build = contenders.builds_of_harness(path, ["peer"])["peer"]
    peer = build(contenders.Work(1, 3, 4, 2), torch.device("cpu"))
    images = contenders.sample_images(2, torch.device("cpu"))
    peer.train(images)
    assert peer.score(images).shape == (2,)
    with pytest.raises(getattr(contenders, raised) if raised else ValueError, match="two devices"):
        peer.sample(2)


def test_harness_without_checkouts_is_refused(contenders: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no harness"):
        contenders.builds_of_harness(tmp_path / "none.py", ["peer"])
    (tmp_path / "harness.py").write_text("")
    monkeypatch.delenv("PEERS", raising=False)
    with pytest.raises(ValueError, match="PEERS"):
        contenders.builds_of_harness(tmp_path / "harness.py", ["peer"])


def test_table_has_seconds_ratios_and_dashes(speed: Any, contenders: Any) -> None:
    def row(factor: float, sample: float, remarks: list[str]) -> Any:
        seconds = {"start-up": [4 * factor], "train": [factor, 2 * factor], "score": [factor], "sample": [sample]}
        return speed.Row(seconds, 1000, 10, 2**20, remarks)

    rows = {"normflows": row(1, 1, []), "glow_pipeline": row(0.5, 0.25, []), "slow": row(2, math.nan, ["cannot"])}
    text = speed.table(rows, contenders.Work(2, 3, 16, 8), torch.device("cpu"), ["said"])
    assert "| glow_pipeline | 1,000 | 0.50 | 2.00 | 2.00 | 4.00 | 1.000 | 1 MiB |" in text
    assert "| slow | 1,000 | 2.00 | 0.50 | 0.50 | - | 1.000 | 1 MiB |" in text
    assert text.endswith("slow: cannot; said.")
    assert "rounds: start-up 1, train 2, score 1, sample 1" in text
    assert "images/s" not in text


def test_gpu_rows_name_every_precision(contenders: Any) -> None:
    assert contenders.builds_for(torch.device("cpu")).keys() == contenders.BUILD.keys()
    added = contenders.builds_for(torch.device("cuda")).keys() - contenders.BUILD.keys()
    assert added == {"glow_pipeline, tf32", "glow_pipeline, float32", "normflows, autocast", "FrEIA, autocast"}


def test_autocast_contender_computes_in_bfloat16(contenders: Any) -> None:
    linear = torch.nn.Linear(4, 4)

    def build(_work: Any, _device: torch.device) -> Any:
        return contenders.Contender(linear, linear, linear, linear, linear, "a linear layer")

    contender = contenders.autocast(build, contenders.Work(1, 1, 1, 1), torch.device("cpu"))
    assert contender.score(torch.ones(2, 4)).dtype == torch.bfloat16
    assert contender.note == "a linear layer, autocast to bfloat16"
