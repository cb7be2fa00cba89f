"""The score and the sampling mode of docs/extending.md, each in a user's own file, used by a real command."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from glow_pipeline.outliers.metrics import detection_metrics
from tests.project import ROOT, TINY, copy_project, kedro, run, versions

EXTENDING = (ROOT / "docs" / "extending.md").read_text()
BOTH = "ood.scores=nll+brightness,ood.score=nll,sample.mode=ends,sample.n=8"


def example(heading: str) -> str:
    """Return the Python code of a section of docs/extending.md."""
    (code,) = re.findall(
        r"```python\n(.*?)```", EXTENDING.partition(f"## {heading}\n")[2].partition("\n## ")[0], re.DOTALL
    )
    return str(code)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model, both additions, and one real command that uses them."""
    project = copy_project(tmp_path_factory.mktemp("additions"))
    run(project, "train", **TINY)
    run(project, "ood", ood={"scores": ["nll"], "score": "nll"})
    (project / "src" / "my_score.py").write_text(example("An outlier score"))
    (project / "src" / "my_mode.py").write_text(example("A sampling mode"))
    settings = project / "src" / "glow_pipeline" / "settings.py"
    settings.write_text(settings.read_text() + "\nimport my_mode\nimport my_score\n")
    done = kedro(project, "run", "--pipelines", "ood,sample", "--params", BOTH)
    assert done.returncode == 0, done.stderr
    (project / "printed").write_text(done.stdout)
    return project


def newest(project: Path, pattern: str) -> Path:
    return versions(project, pattern)[-1]


def test_added_score_has_column_and_metrics(project: Path) -> None:
    scores = pd.read_parquet(newest(project, "07_model_output/digits/vs_textures/ood_scores.parquet/*/*"))
    first = pd.read_parquet(versions(project, "07_model_output/digits/vs_textures/ood_scores.parquet/*/*")[0])
    pd.testing.assert_frame_equal(scores.drop(columns="brightness"), first)
    metrics, before = (
        json.loads(path.read_text())
        for path in reversed(versions(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*"))
    )
    assert before.items() <= metrics.items()
    expected = detection_metrics(scores["is_out"].to_numpy(dtype=bool), scores["brightness"].to_numpy())
    assert {name: metrics[f"{name}.brightness"] for name in expected} == expected
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        logged = dict(database.execute("select key, value from latest_metrics").fetchall())
    assert logged["ood/auroc.brightness"] == expected["auroc"]


def test_added_score_has_a_panel_and_a_line(project: Path) -> None:
    pictures = versions(project, "08_reporting/digits/vs_textures/ood_histogram.png/*/*")
    widths = []
    for picture in pictures:
        with Image.open(picture) as image:
            widths.append(image.width)
    assert widths == [720, 840]
    lines = (project / "printed").read_text().splitlines()
    assert sum("AUROC of nll (negative log-likelihood), outliers positive" in line for line in lines) == 1
    assert sum("AUROC of brightness (0." in line for line in lines) == 1


def test_added_mode_draws_its_picture(project: Path) -> None:
    with Image.open(newest(project, "07_model_output/digits/samples_ends.png/*/*.png")) as picture:
        assert picture.width > 200
    assert "samples_ends.png" in (project / "printed").read_text()
