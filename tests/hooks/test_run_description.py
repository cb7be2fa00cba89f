"""Descriptions of MLflow runs."""

from dataclasses import replace
from typing import Any

import pytest

from glow_pipeline.hooks.key_figures import KeyFigures
from glow_pipeline.hooks.run_description import RunDescription, Table
from glow_pipeline.provenance import Provenance
from glow_pipeline.tracking.command_run import ModelOfRun
from glow_pipeline.tracking.pages import Pages
from tests.conftest import MakeTable, random_images

METRICS = {"test_bits_per_dim": 2.30303, "n_test": 297, "images": "1x8x8_4bit_resize", "dataset": "digits"}
COMMAND = "kedro run --params 'train.lr=0.1'"


def described(**changes: Any) -> str:
    description = RunDescription(
        "train",
        "digits",
        COMMAND,
        Provenance(git_commit="0123456789abcdef", git_dirty=True),
        {"train.lr": 0.1, "own.note": "a|b"},
        {"train.lr": 0.1, "own.note": "a|b", "seed": 0, "device": "cpu"},
        Pages("http://127.0.0.1:5000", "1"),
    )
    return replace(description, **changes).markdown()


def test_description_says_what_and_repeats() -> None:
    text = described()
    assert text.startswith("**Trains a Glow**: `digits`.\n\n```\nkedro run --params 'train.lr=0.1'\n```")
    assert "(commit `0123456789` with uncommitted changes)" in text
    assert "| train.lr (typed) | `0.1` |" in text
    assert r"| own.note (typed) | `a\|b` |" in text, "a bare bar would end the cell"
    assert "| seed | `0` |" in text
    assert "device" not in text


def test_strange_paths_change_nothing_around_them() -> None:
    path = "a```b\n# Head\n```\n| c `d`"
    text = described(command=f"kedro run --params 'ingest.path={path}'", typed={"p": path}, params={"p": path})
    before, command, after = text.split("````\n")
    assert before.startswith("**Trains a Glow**")
    assert command.splitlines() == [
        f"kedro run --params 'ingest.path={path}'".splitlines()[0],
        *path.splitlines()[1:-1],
        "| c `d`'",
    ]
    (row,) = [line for line in after.splitlines() if line.startswith("| p (typed)")]
    assert row == "| p (typed) | ```` a```b\\n# Head\\n```\\n\\| c `d` ```` |"


def test_figures_come_before_the_command() -> None:
    figures = KeyFigures()
    figures.add("train_metrics", METRICS)
    text = described(figures=figures)
    assert "**2.3030** bits/dim on test images (297 images, 1x8x8_4bit_resize)" in text
    assert text.index("2.3030") < text.index(COMMAND)


def test_images_are_counted(make_table: MakeTable) -> None:
    description = RunDescription("ingest", "tiny", COMMAND, Provenance(), {}, {}, Pages("http://ui", "1"))
    table = make_table(random_images(6), 8)
    description.add_table("train_images", table)
    text = description.markdown()
    assert f"{len(table):,} train images" in text.splitlines()[0]
    assert text.splitlines()[0].endswith(f", {table.record.num_classes} classes).")
    assert f"| {table.record.name}" in text.replace("\\", "")
    assert "commit" not in text


def test_models_training_is_linked() -> None:
    known = described(model=ModelOfRun("glow", "m-1", "abc"), stored_model="v1")
    assert "[glow](#/experiments/1/models/m-1?workflowType=machine_learning)" in known
    assert "[its training](#/experiments/1/runs/abc?workflowType=machine_learning)" in known
    assert "add `stored_model=v1`" in known
    unknown = described(model=ModelOfRun("glow"), stored_model="v1", typed={"stored_model": "v1"})
    assert "`glow`, its training is not in this experiment" in unknown
    assert "newer model" not in unknown
    own = described(model=ModelOfRun("glow", "m-1", "abc"))
    assert "its training" not in own


@pytest.mark.parametrize(
    ("pipelines", "expected"),
    [
        ("all", "**Prepares images, trains a Glow, draws samples and scores outliers**"),
        ("ood+sample", "**Scores outliers, draws samples**"),
        ("mine", "**Runs mine**"),
    ],
)
def test_each_pipeline_has_its_verb(pipelines: str, expected: str) -> None:
    assert described(pipelines=pipelines).startswith(expected)


def test_part_of_a_pipeline_is_said() -> None:
    assert described(in_part=True).startswith("**Trains a Glow, in part**: `digits`")


def test_classes_that_differ_stand_with_their_images(make_table: MakeTable) -> None:
    description = RunDescription("ood", "tiny", COMMAND, Provenance(), {}, {}, Pages("http://ui", "1"))
    table = make_table(random_images(6), 8)
    description.add_table("test_images", table)
    other = table.record.model_copy(update={"num_classes": table.record.num_classes + 1})
    description.tables["out_images"] = Table(other, 6)
    assert "class" not in description.markdown().splitlines()[0]
