"""Runs of the pipelines with the real configuration and tiny models."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from glow_pipeline.training.checkpoint import read_checkpoint
from glow_pipeline.training.model_file import read_model, read_record
from glow_pipeline.training.state import best_weights_in
from tests.project import TINY, TINY_COMMAND, copy_project, kedro_run, run, versions

CONDITIONED = {**TINY["model"], "y_condition": True}
MODELS = "06_models/digits/glow_model.safetensors/*/*.safetensors"


def models(project: Path) -> list[Path]:
    return versions(project, MODELS)


def newest_metrics(project: Path, pattern: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(versions(project, pattern)[-1].read_text())
    return metrics


def test_same_seed_gives_the_same_bits(digits_project: Path) -> None:
    *command, _, params = TINY_COMMAND[1:]
    command += ["--to-outputs", "ood_scores,samples"]
    params += ",ood.scores=one_pass,ood.score=density_sum"  # as `finished_digits` had them
    kedro_run(digits_project, *command, "--params", params)
    kedro_run(digits_project, *command, "--params", f"{params},seed=1")
    for pattern in (
        "07_model_output/digits/vs_textures/ood_scores.parquet/*/*",
        "07_model_output/digits/*.png/*/*.png",
    ):
        first, again, other = (
            hashlib.sha256(path.read_bytes()).hexdigest() for path in versions(digits_project, pattern)
        )
        assert first == again != other
    weights = [read_model(path).flow.state_dict() for path in models(digits_project)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_record_names_the_models_origin(finished_digits: Path) -> None:
    (model,) = models(finished_digits)
    record = read_record(model)
    assert record.provenance.kedro_session == model.parent.name
    assert record.provenance.mlflow_run_id is not None
    assert record.provenance.versions["torch"] == torch.__version__.partition("+")[0]
    assert record.parameters["model"]["hidden_channels"] == 8
    assert list(record.train_table.source_files) == ["digits.csv.gz"]
    assert len(record.train_table.source_files["digits.csv.gz"]) == 64


def test_training_starts_from_a_given_model(digits_project: Path) -> None:
    (first,) = models(digits_project)
    standing_still = {"n_epochs": 1, "lr": 1e-12, "checkpoint": str(first)}
    run(digits_project, "train", model=TINY["model"], train=standing_still)
    bits = [read_record(path).val_bits_per_dim for path in models(digits_project)]
    assert bits[1] == pytest.approx(bits[0], abs=1e-4)


def test_last_checkpoint_stays_and_holds_the_model(finished_digits: Path) -> None:
    (path,) = versions(finished_digits, "06_models/digits/checkpoints/*/*/step_*")
    assert (path.parent / "finished").exists()
    saved, final = best_weights_in(read_checkpoint(path)), read_model(models(finished_digits)[0]).flow.state_dict()
    assert saved.keys() == final.keys()
    assert all(torch.equal(tensor, final[name]) for name, tensor in saved.items())


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("conditioned"))
    run(project, "train", train={**TINY["train"], "n_epochs": 4, "lr": 0.01}, model=CONDITIONED)
    return project


def test_conditioned_model_is_measured_with_and_without_class(conditioned: Path) -> None:
    metrics = newest_metrics(conditioned, "08_reporting/digits/train_metrics.json/*/*")
    assert metrics["test_bits_per_dim_given_class"] != metrics["test_bits_per_dim"]


def test_chosen_class_is_drawn(conditioned: Path) -> None:
    pictures = []
    for y in (0, 1, None):
        run(conditioned, "sample", sample={"y": y, "n": 4, "temperature": 0.5})
        with Image.open(versions(conditioned, "07_model_output/digits/samples_normal.png/*/*.png")[-1]) as picture:
            pictures.append(np.asarray(picture))
    assert pictures[0].shape == pictures[1].shape
    assert not np.array_equal(pictures[0], pictures[1])
    assert pictures[2].shape[0] > pictures[0].shape[0]  # a row for each of ten classes


@pytest.mark.parametrize("mode", ["vtemp", "interpolate"])
def test_conditioned_model_makes_movies(conditioned: Path, mode: str) -> None:
    run(conditioned, "sample", sample={"mode": mode, "n": 4, "frames": 3, "keep_frames": True, "path": "sphere"})
    (gif,) = versions(conditioned, f"07_model_output/digits/samples_{mode}.png/*/*.gif")
    frames = sorted(frame.name for frame in gif.with_name(f"samples_{mode}_frames").iterdir())
    assert frames == ["frame_000.png", "frame_001.png", "frame_002.png"]
    logged = conditioned.glob(f"mlartifacts/*/artifacts/samples_{mode}_frames/*")
    assert sorted(frame.name for frame in logged) == frames


def test_conditioned_model_reconstructs_images(conditioned: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(conditioned, "sample", sample={"mode": "reconstruct", "n": 4, "keep_frames": True})
    assert versions(conditioned, "07_model_output/digits/samples_reconstruct.png/*/*.png")
    assert "sample.mode=reconstruct has no animation, so there are no frames" in caplog.text


def test_auroc_follows_from_the_score_table(conditioned: Path) -> None:
    run(conditioned, "ood", ood={"scores": ["nll"], "score": "nll"})
    scores = pd.read_parquet(versions(conditioned, "07_model_output/digits/vs_textures/ood_scores.parquet/*/*")[-1])
    columns = ["source", "split", "index", "file", "label", "nll_bits_per_dim", "unreadable", "is_out"]
    assert list(scores.columns) == columns
    inside, outside = (scores.loc[scores["is_out"] == out, "nll_bits_per_dim"].to_numpy() for out in (False, True))
    pairs = (outside[:, None] > inside[None, :]).mean() + 0.5 * (outside[:, None] == inside[None, :]).mean()
    metrics = newest_metrics(conditioned, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")
    assert metrics["auroc"] == pytest.approx(pairs)


@pytest.mark.slow
def test_every_kind_of_activations_trains_the_same(digits_project: Path) -> None:
    for activations in ("stored", "checkpointed", "reversible"):
        train = {**TINY["train"], "lr": 0.01, "activations": activations}
        run(digits_project, "train", model=TINY["model"], train=train, seed=2)
    bits = [read_record(model).val_bits_per_dim for model in models(digits_project)[1:]]
    assert bits == pytest.approx([bits[0]] * 3, abs=1e-3)
