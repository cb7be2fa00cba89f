"""Runs that are refused before they start."""

from pathlib import Path
from typing import Any

import click
import pytest
import torch

from tests.hooks.helpers import refused
from tests.project import TINY, copy_project, files_below, run, versions


@pytest.mark.parametrize(
    ("runtime_params", "expected"),
    [
        (
            {"model": {"hiden_channels": 32}},
            "model.hiden_channels=32: unknown parameter; did you mean model.hidden_cha",
        ),
        ({"datset": "mnist"}, "datset=mnist: unknown parameter; did you mean dataset?"),
        ({"dataset": "fashonmnist"}, "did you mean fashionmnist?"),
        ({"model": {"K": -1}}, "model.K=-1: should be greater than or equal to 1"),
        ({"model": {"K": "many"}}, "model.K='many': should be a valid integer"),
        ({"model": {"L": 4}}, "model.L=4: each level halves the image, and 8x8 can be halved 3 times"),
        ({"model": {"n_bits": 8}}, "model.n_bits=8: digits has images of 4 bits"),
        (
            {"model": {"hidden_channels": 10**9}},
            "model.hidden_channels=1000000000: the model's parameters alone take ",
        ),
        ({"train": {"checkpoint": "nowhere.safetensors"}}, "nowhere.safetensors: no such file"),
        ({"sample": {"mode": "wild"}}, "sample.mode='wild': should be 'normal', 'vtemp', 'interpolate'"),
    ],
)
def test_wrong_parameters_are_refused_early(tmp_path: Path, runtime_params: dict[str, Any], expected: str) -> None:
    assert expected in refused(copy_project(tmp_path), "train", **runtime_params)


def test_missing_device_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for pipeline in ("ingest", "train", "ood", "sample"):
        assert refused(copy_project(tmp_path / pipeline), pipeline, device="cuda").startswith(
            "device=cuda: torch finds none here, only cpu"
        )


def test_unsupported_precision_is_refused_early(tmp_path: Path) -> None:
    line = refused(copy_project(tmp_path), "train", device="cpu", train={"precision": "tf32"})
    assert line.startswith("train.precision=tf32: cpu has no TF32")


def test_precision_matters_only_to_trainings(trained: Path) -> None:
    run(trained, "sample", device="cpu", train={"precision": "tf32"})


def test_ood_before_train_names_the_command_to_type(tmp_path: Path) -> None:
    line = refused(copy_project(tmp_path), "ood")
    assert line == (
        "dataset=digits: no trained model of it yet; first type `kedro run --pipelines train --params dataset=digits`, "
        "or type model=digits for the one that is shipped"
    )


def test_shipped_name_as_stored_model_is_refused_with_the_right_one(tmp_path: Path) -> None:
    line = refused(copy_project(tmp_path), "sample", stored_model="digits")
    assert line == "stored_model=digits: no version of a model has this name; type model=digits"


def test_models_of_other_datasets_are_named(trained: Path) -> None:
    assert "there are models of digits" in refused(trained, "ood", dataset="textures", out_dataset="digits")


def test_parameter_contradicting_the_stored_model_is_refused(trained: Path) -> None:
    assert "model.K=4: the stored model" in refused(trained, "ood", model={"K": 4})
    assert "ingest.size=8: the stored model" in refused(trained, "sample", ingest={"size": 8})


def test_parameter_agreeing_with_the_stored_model_is_accepted(trained: Path) -> None:
    run(trained, "sample", model={"K": 2}, ingest={"size": 16})
    assert versions(trained, "07_model_output/digits/samples_normal.png/*/*.png")


def test_outliers_equal_to_the_dataset_are_refused(trained: Path) -> None:
    assert "out_dataset=digits: its images are among those of dataset=digits" in refused(
        trained, "ood", out_dataset="digits"
    )


def test_class_of_an_unconditioned_model_is_refused(trained: Path) -> None:
    assert "sample.y=3: the model knows no classes" in refused(trained, "sample", sample={"y": 3})


def test_checkpoint_of_another_shape_or_flow_is_refused(trained: Path) -> None:
    checkpoint = str(versions(trained, "06_models/digits/glow_model.safetensors/*/*.safetensors")[-1])
    line = refused(trained, "train", train={"checkpoint": checkpoint})
    assert "a model of images 1x16x16_4bit_pad, but the parameters ask for 1x8x8_4bit_resize" in line
    line = refused(trained, "train", train={"checkpoint": checkpoint}, ingest={"size": 16})
    assert line.startswith(f"ingest.fit=resize: train.checkpoint={checkpoint} was trained with pad")
    line = refused(trained, "train", train={"checkpoint": checkpoint}, ingest={"size": 16, "fit": "pad"})
    assert f"model.K=8: train.checkpoint={checkpoint} has 2; set model.K=2" in line


def test_damaged_model_is_named(trained: Path, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    intact = versions(trained, "06_models/digits/glow_model.safetensors/*/*.safetensors")[-1]
    damaged = project / intact.relative_to(trained)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(intact.read_bytes()[:-10])
    assert "not a complete safetensors file" in refused(project, "sample")


def test_diverged_training_stores_no_model(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    with pytest.raises(click.ClickException) as error:
        run(
            project,
            "train",
            model=TINY["model"],
            train={"lr": 1e12, "warmup": 0.0, "max_skipped_steps": 2, "n_epochs": 20},
        )
    assert error.value.message.startswith("train.max_skipped_steps=2: that many steps in a row")
    assert "no model is stored" in error.value.message
    assert versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors") == []
    assert "no trained model of it yet" in refused(project, "ood")


@pytest.mark.parametrize(
    ("runtime_params", "expected"),
    [
        ({"search": {"ranges": {"train.lrr": {"low": 1, "high": 2}}}}, "search.ranges.train.lrr: unknown parameter"),
        ({"search": {"ranges": {"ingest.size": {"choices": [8]}}}}, "search.ranges.ingest.size: cannot be searched"),
        ({"search": {"ranges": {"model.L": {"low": 1, "high": 4}}}}, "search.ranges: model.L=4: each level halves"),
        ({"search": {"ranges": {"train": {"lr": {"high": 1e-5}}}}}, "should be a low and a higher high, or choices"),
        (
            {"search": {"ranges": {"train.precision": {"choices": ["float32", "tf32"]}}}, "device": "cpu"},
            "train.precision=tf32: cpu has no TF32",
        ),
        (
            {"search": {"ranges": {"train.checkpoint": {"choices": ["nowhere.safetensors"]}}}},
            "nowhere.safetensors: no such file",
        ),
        ({"search": {"storage": "optuna.db"}}, "search.storage=optuna.db: not an SQLAlchemy address"),
        (
            {"search": {"storage": "postgresql+nosuch://host/a"}},
            "search.storage=postgresql+nosuch://host/a: Can't load",
        ),
    ],
)
def test_wrong_search_is_refused_early(tmp_path: Path, runtime_params: dict[str, Any], expected: str) -> None:
    model = {"L": 2}  # of digits' 8x8
    assert expected in refused(copy_project(tmp_path), "search", model=model, **runtime_params)


def test_ranges_matter_only_to_searches(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    line = refused(project, "sample", search={"ranges": {"model.L": {"low": 1, "high": 9}}})
    assert line.startswith("dataset=digits: no trained model of it yet")
    assert files_below(project / "data") == []
