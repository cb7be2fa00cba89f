"""The history that `kedro run --pipeline score` keeps, with the real configuration and a tiny model of the digits."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.hooks.helpers import client_of, runs
from tests.project import kedro_run, versions

RATE = "score.false_alarm_rate=0.2"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Folders of noise, which is likelier than digits to a model that is hardly trained: it scores lower."""
    random = np.random.default_rng(0)
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        for i in range(12):
            pixels = random.integers(0, 256, (16, 16)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / day / f"{i}.png")
    shutil.copy(tmp_path / "monday" / "3.png", tmp_path / "tuesday" / "again.png")
    (tmp_path / "monday" / "broken.png").write_bytes(b"")
    return tmp_path


def score(project: Path, images: Path, more: str = "") -> pd.DataFrame:
    """Score a folder, and return the history that the command stores."""
    typed = f"dataset=digits,score.images={images},{RATE},score.heatmaps=none,train.threads=1{more}"
    kedro_run(project, "--pipelines", "score", "--params", typed)
    return pd.read_csv(versions(project, "08_reporting/digits/score_history.csv/*/*")[-1])


def test_commands_make_a_history(
    digits_project: Path, scans: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    score(digits_project, scans / "monday")
    history = score(digits_project, scans / "tuesday")
    assert history["batch"].tolist() == [1, 2]
    assert history["images"].tolist() == [str(scans / day) for day in ("monday", "tuesday")]
    assert history["n_scored"].tolist() == [12, 13]
    assert history["n_unreadable"].tolist() == [1, 0]
    assert history["n_copies"].tolist() == [0, 1]
    assert history["drift"].tolist() == [False, True]
    printed = capsys.readouterr().out
    assert "batch 2: " in printed
    assert "drift: yes, since batch 2 (martingale " in printed
    assert versions(digits_project, "08_reporting/digits/score_history.png/*/*")
    # MLflow has the curve of all batches in the run of each command.
    newest = runs(digits_project)[0]
    curve = client_of(digits_project).get_metric_history(newest.info.run_id, "batches/log10_martingale")
    curve.sort(key=lambda point: point.step)
    assert [point.step for point in curve] == [1, 2]
    assert [point.value for point in curve] == pytest.approx(history["log10_martingale"].tolist())
    assert curve[0].timestamp < curve[1].timestamp

    alone = score(digits_project, scans / "monday", ",score.history=false")
    assert alone["batch"].tolist() == [1]
    assert "score.history=false: score_history and its figure are of these images alone" in caplog.text
    assert alone["images"].tolist() == [str(scans / "monday")]
    assert len(versions(digits_project, "07_model_output/digits/batches/*/*.safetensors")) == 2
