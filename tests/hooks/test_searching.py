from pathlib import Path
from typing import Any

import pytest

from tests.hooks.test_early_checks import refused
from tests.project import copy_project, files_below


@pytest.mark.parametrize(
    ("runtime_params", "told"),
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
def test_a_search_is_refused_before_anything_starts(tmp_path: Path, runtime_params: dict[str, Any], told: str) -> None:
    model = {"L": 2}  # of digits' 8x8
    assert told in refused(copy_project(tmp_path), "search", model=model, **runtime_params)


def test_ranges_that_do_not_fit_are_no_matter_to_other_pipelines(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    line = refused(project, "sample", search={"ranges": {"model.L": {"low": 1, "high": 9}}})
    assert line.startswith("dataset=digits: no trained model of it yet")
    assert files_below(project / "data") == []
