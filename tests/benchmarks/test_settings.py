"""The table of settings: what it asks for, its order, and one tiny training."""

from pathlib import Path

import pytest
from results.commands import configuration
from results.rows import Row, RowLeftOut
from results.settings import BASE, BEST, SEEDS, SETTINGS, UNCHANGED, blocks, row_name, setting_and_seed, trained, wanted

from glow_pipeline.parameters import with_values
from tests.project import ROOT, copy_project

ORDER = [setting for setting in SETTINGS if setting != UNCHANGED]  # from the best


def row(setting: str, bits: float, seed: int = 0, dimensions: int = 784) -> Row:
    made = {"steps": 10, "batch_size": 32, "cost": 1.0, "n_parameters": 1000}
    return {"setting": setting, "seed": seed, "bits_per_dim": bits, "dimensions": dimensions, "base": "K=8", **made}


def first_rows() -> dict[str, Row]:
    rows = {row_name(setting, 0): row(setting, 3 + number / 100) for number, setting in enumerate(ORDER)}
    return {**rows, row_name(UNCHANGED, 0): row(UNCHANGED, 3.5)}


def test_every_setting_is_wanted_first() -> None:
    assert wanted({}) == [row_name(setting, 0) for setting in SETTINGS]


def test_best_settings_are_wanted_with_more_seeds() -> None:
    rows = first_rows()
    more = wanted(rows)[len(SETTINGS) :]
    assert more == [row_name(setting, seed) for seed in SEEDS for setting in (UNCHANGED, *ORDER[:BEST])]
    rows[row_name(ORDER[0], 1)] = row(ORDER[0], 9.0, seed=1)
    assert wanted(rows)[len(SETTINGS) :] == more


def test_table_compares_sizes_by_their_content() -> None:
    rows = {row_name("K=16", 0): row("K=16", 2.4, dimensions=1024), row_name(UNCHANGED, 0): row(UNCHANGED, 3.0)}
    lines = [line for line in blocks(rows)["settings"].splitlines() if line.startswith("|")][2:]
    assert lines[0].startswith("| unchanged | 3.000 | 3.000 | +0.000 |")
    assert lines[1].startswith("| K=16 | 2.400 | 3.135 | +0.135 |")


def test_table_shows_other_seeds() -> None:
    rows = {row_name(UNCHANGED, seed): row(UNCHANGED, 3 + seed / 10, seed) for seed in (0, 1, 2)}
    assert "3.100, 3.200 (sd 0.100)" in blocks(rows)["settings"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting_is_valid(setting: str) -> None:
    base = configuration("base", ROOT, BASE).checked_parameters
    assert with_values(base, SETTINGS[setting]).dataset == "fashionmnist"


def test_row_names_are_read_back() -> None:
    assert setting_and_seed("K=16, hidden_channels=32, seed 2") == ("K=16, hidden_channels=32", 2)
    with pytest.raises(RowLeftOut, match="no such setting"):
        setting_and_seed("K=17, seed 0")


@pytest.mark.slow
def test_setting_is_trained_at_equal_cost(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    tiny = {"model": {"K": 2, "L": 2, "hidden_channels": 8}, "train": {"batch_size": 32, "n_epochs": 10}}
    base = configuration("digits", project, tiny).checked_parameters
    own, unchanged = trained("hidden_channels=32", base, project, 1), trained(UNCHANGED, base, project, 1)
    assert unchanged["steps"] == 1350 // 32
    assert own["steps"] == max(1, round(unchanged["steps"] / own["cost"]))
    assert own["command"] == "python benchmarks/make_tables.py settings --rows 'hidden_channels=32, seed 0'"
    assert 0 < own["bits_per_dim"] < 8
