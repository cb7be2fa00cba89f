"""A model whose flow overflows: images are counted and reported, and files stay readable by other programs."""

import json
import math
import sqlite3
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest
import torch

from glow_pipeline.parameters import TrainParameters
from glow_pipeline.pipelines.train.nodes import evaluate_glow
from glow_pipeline.training.history import History
from glow_pipeline.training.model_file import TrainedGlow, read_model, write_model
from tests.conftest import MakeTable, jittered_glow, model_record, random_images
from tests.outliers.test_metrics import auroc_by_pairs
from tests.project import TINY, copy_project, run, versions


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that overflows on some images."""
    project = copy_project(tmp_path_factory.mktemp("overflowing"))
    run(project, "train", **TINY)
    (path,) = versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")
    model = read_model(path)
    weights = model.flow.state_dict()
    weights["splits.0.network.log_scale"].zero_()
    # The latent's log_sd: its square overflows float32 from about one standard deviation on.
    weights["splits.0.network.conv.bias"][-1] = -44.0
    newer = path.parents[1] / "2099-01-01T00.00.00.000Z" / path.name
    write_model(newer, model.record, weights)
    return project


def read(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    metrics: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return metrics


def test_scores_that_are_not_finite_are_reported(overflowing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(overflowing, "ood", ood={"scores": ["nll"], "score": "nll"})
    printed = capsys.readouterr().out
    scores = pd.read_parquet(versions(overflowing, "07_model_output/digits/vs_textures/ood_scores.parquet/*/*")[-1])
    metrics = read(versions(overflowing, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")[-1])
    for side, name in (("in", "digits"), ("out", "textures")):
        values = scores.loc[scores["is_out"] == (side == "out"), "nll_bits_per_dim"].to_numpy()
        finite = values[np.isfinite(values)]
        assert metrics[f"n_not_finite_{side}"] == len(values) - len(finite)
        if len(finite) < len(values):
            assert (
                f"  {len(values) - len(finite)} of {len(values)} images of {name} have a score that is not" in printed
            )
        expected = pytest.approx(finite.mean()) if len(finite) else None
        assert metrics[f"{side}_bits_per_dim"] == expected
    assert metrics["n_not_finite_in"] + metrics["n_not_finite_out"] > 0
    is_out, score = scores["is_out"].to_numpy(dtype=bool), scores["nll_bits_per_dim"].to_numpy()
    assert metrics["auroc"] == pytest.approx(auroc_by_pairs(is_out, score))
    with sqlite3.connect(overflowing / "mlflow.db") as database:
        logged = dict(
            database.execute(
                "select key, value from latest_metrics join runs using (run_uuid) "
                "where name like 'ood digits vs textures%'"
            ).fetchall()
        )
    assert logged["ood/n_not_finite_out"] == metrics["n_not_finite_out"]
    assert all(abs(value) < 1e300 for value in logged.values())


def test_overflowing_test_images_are_reported(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    flow = jittered_glow()
    with torch.no_grad():
        flow.get_parameter("splits.0.network.conv.bias")[-1] = -88.0
    model, table = TrainedGlow(flow, model_record()), make_table(random_images(5), 4)
    metrics, _ = evaluate_glow(model, table, {}, History(), TrainParameters(), seed=0, device="cpu")
    assert metrics["test_bits_per_dim"] == math.inf
    assert "The bits/dim of the test images are not finite (null in train_metrics)" in caplog.text
