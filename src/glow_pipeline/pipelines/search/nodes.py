"""Nodes of the search pipeline: from image tables to the trials of a search and the best parameters."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import Parameters
from glow_pipeline.plots.trials import search_history
from glow_pipeline.provenance import Provenance


# `search_study` is an optuna.Study. Kedro reads the types of nodes, so this one would be imported for every command.
def run_search(
    search_study: Any,
    fit_images: ImageTable,
    val_images: ImageTable,
    parameters: Parameters,
    provenance: Provenance,
    checkpoints: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run trials until enough have finished; return all trials of the study, a row each, twice: for two files."""
    from glow_pipeline.search.mlflow_runs import parent_run, report_best  # here: Optuna takes a third of a second
    from glow_pipeline.search.results import trials_table
    from glow_pipeline.search.study import check_images
    from glow_pipeline.search.trial_runs import run_trials
    from glow_pipeline.search.trial_training import TrialTraining

    check_images(search_study, parameters, fit_images.record.origin)
    parent = parent_run(search_study)
    training = TrialTraining(search_study, fit_images, val_images, provenance, checkpoints, parent)
    run_trials(search_study, parameters, training.objective, training.on_not_allowed)
    table = trials_table(search_study)
    report_best(table, parameters, parent)
    return table, table


def write_best(search_study: Any, search_results: pd.DataFrame, parameters: Parameters) -> str:
    """Return the best trial's parameters as the text of a parameters.yml."""
    from glow_pipeline.search.results import best_parameters_file

    return best_parameters_file(search_study, search_results, parameters)


def plot_search(search_results: pd.DataFrame, image_selection: ImageSelection) -> Figure:
    """Draw the validation bits per dimension of the trials, and the best so far."""
    return search_history(
        search_results["state"].tolist(),
        search_results["val_bits_per_dim"].tolist(),
        f"search on {image_selection.key}",
    )
