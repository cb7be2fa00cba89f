"""Commands that train a background model and score with several models, and with groups of images."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from glow_pipeline.training.model_file import read_model
from tests.project import TINY_TYPED, files_below, kedro_run, versions

TINY = f"{TINY_TYPED},train.threads=1"
MODEL = "glow_model.safetensors"


def models(project: Path, folder: str = "digits") -> list[Path]:
    return versions(project, f"06_models/{folder}/{MODEL}/*/{MODEL}")


def ood_metrics(project: Path) -> dict[str, Any]:
    newest = versions(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/ood_metrics.json")[-1]
    found: dict[str, Any] = json.loads(newest.read_text())
    return found


def kedro(project: Path, pipeline: str, params: str) -> None:
    kedro_run(project, "--env", "digits", "--pipelines", pipeline, "--params", params)


@pytest.mark.slow
def test_background_is_trained_and_compared_with(digits_project: Path) -> None:
    project, first = digits_project, models(digits_project)
    before = files_below(project / "data")
    with pytest.raises(click.ClickException) as refused:
        kedro(project, "ood", "ood.scores=likelihood_ratio")
    command = "kedro run --env digits --pipelines train --params dataset=digits,train.mutation=0.2"
    assert f"type `{command}` with the other parameters" in refused.value.message
    with pytest.raises(click.ClickException, match=r"^ood\.ensemble=null: waic compares several models"):
        kedro(project, "ood", "ood.scores=waic")
    assert files_below(project / "data") == before

    kedro(project, "train", f"{TINY},train.mutation=0.2")
    assert models(project) == first, "a background is never the newest model"
    (background,) = models(project, "digits/mutated")
    assert read_model(background).record.parameters["train"]["mutation"] == 0.2

    kedro(project, "ood", "ood.scores=nll+likelihood_ratio,ood.group_size=30")
    metrics = ood_metrics(project)
    assert metrics["background_model"].startswith(f"{background.parent.name} sha256:")
    assert 0 < metrics["auroc.likelihood_ratio"] < 1
    assert (metrics["group_size"], metrics["n_groups_in"]) == (30, metrics["n_in"] // 30)
    assert 0 <= metrics["group_typicality.auroc"] <= 1
    assert 0 <= metrics["group_latent_ks.flagged_in"] <= 1


@pytest.mark.slow
def test_models_of_other_seeds_score_together(digits_project: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = digits_project
    kedro(project, "train", f"{TINY},seed=1,ood.scores=all")  # whose detector fits all scores
    one, two = models(project)
    kedro(project, "ood", f"ood.scores=all,ood.ensemble={one.parent.name}+{two}")
    metrics = ood_metrics(project)
    assert metrics["model_session"] == two.parent.name
    assert 0 < metrics["auroc.waic"] < 1
    assert [each.partition(" ")[0] for each in metrics["ensemble_models"]] == [one.parent.name, two.parent.name]
    assert "auroc.likelihood_ratio" not in metrics
    assert "ood.scores=all leaves out what needs other models: likelihood_ratio (set ood.background)" in caplog.text
