import math
from pathlib import Path

import optuna
import pandas as pd
import pytest
from omegaconf import OmegaConf

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, parse_parameters, with_complete_batches
from glow_pipeline.search.results import best_parameters_file, trials_table
from glow_pipeline.search.trial_runs import OnEpoch, run_trials
from tests.search.helpers import RANGES, bits_of, opened, searching


def test_table_has_a_row_for_each_trial(tmp_path: Path) -> None:
    ranges = {**RANGES, "model.num_classes": {"choices": [None, 12]}, "train.compile": {"choices": ["auto", False]}}
    parameters = searching(4, ranges, pruner="median", startup_trials=1, warmup_epochs=0)
    study = opened(tmp_path, parameters)

    def of_all_kinds(trial: optuna.Trial, parameters: Parameters, on_epoch: OnEpoch) -> float:
        if trial.number == 0:
            raise SystemExit
        for epoch in (1, 2):
            if on_epoch(epoch, trial.number + 1 / epoch):
                break
        return math.inf if trial.number == 2 else trial.number + 0.25

    with pytest.raises(SystemExit):
        run_trials(study, parameters, of_all_kinds)
    run_trials(study, searching(3, ranges), of_all_kinds)
    table = trials_table(study)
    assert table["number"].tolist() == [0, 1, 2, 3]
    assert table["state"].tolist() == ["fail", "complete", "pruned", "pruned"]
    assert table["retry_of"].astype(object).where(table["retry_of"].notna(), None).tolist() == [None, 0, None, None]
    assert table["epochs"].tolist() == [0, 2, 1, 1]
    assert table["val_bits_per_dim"].tolist()[1:] == [1.25, 3.0, 4.0]
    assert table["model.K"].tolist() == [trial.params["model.K"] for trial in study.trials]
    assert set(table["train.compile"]) <= {"auto", "False"}
    table.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)


def test_best_parameters_file_gives_the_best_trial(tmp_path: Path) -> None:
    typed = {"seed": 4, "ingest": {"classes": "0-4"}, "train": {"batch_size_per_device": 8}}
    given = with_complete_batches(parse_parameters({**searching(3).model_dump(), **typed}), 3)
    study = opened(tmp_path, given)
    run_trials(study, given, bits_of)
    text = best_parameters_file(study, trials_table(study), given)
    (tmp_path / "parameters.yml").write_text(text)
    loaded = OmegaConf.to_container(OmegaConf.load(tmp_path / "parameters.yml"))
    assert isinstance(loaded, dict)
    parsed = parse_parameters({str(key): value for key, value in loaded.items()})
    best = min(study.trials, key=lambda trial: trial.params["model.K"])
    assert best.params == {"model.K": parsed.model.K, "train.lr": parsed.train.lr}
    assert (parsed.train.batch_size, parsed.train.batch_size_per_device) == (24, None)
    assert (parsed.seed, parsed.image_selection) == (4, given.image_selection)
    assert text.startswith(
        f"# {best.value:.4f} bits/dim on validation images: trial {best.number} of {study.study_name}"
    )


def test_no_best_parameters_if_all_trials_diverged(tmp_path: Path) -> None:
    study = opened(tmp_path)
    run_trials(study, searching(2), lambda _trial, _parameters, _on_epoch: math.inf)
    with pytest.raises(GlowPipelineError, match=r"search.ranges: no trial is complete \(2 diverged\); lower"):
        best_parameters_file(study, trials_table(study), searching())
