"""The results of a search: all its trials in a table, and the best parameters as a file to train with."""

from typing import TYPE_CHECKING

import pandas as pd
from omegaconf import OmegaConf

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, with_values

if TYPE_CHECKING:
    from optuna import Study


def trials_table(study: "Study") -> pd.DataFrame:
    """Return a row for each trial, in the order in which they started; each searched parameter is a column.

    `state` is complete, pruned, diverged, fail, running or waiting. `val_bits_per_dim` is that of the best epoch of a
    complete trial, of the last epoch of a pruned one, infinite if the training diverged. `error` says why a trial
    failed. `retry_of` is the number of the interrupted trial that this one repeats.
    """
    from glow_pipeline.search.study import ERROR, state_of  # here, because Optuna takes a third of a second

    trials = study.get_trials(deepcopy=False)
    table = pd.DataFrame(
        {
            "number": [trial.number for trial in trials],
            "state": [state_of(trial) for trial in trials],
            "val_bits_per_dim": pd.Series([trial.value for trial in trials], dtype="float64"),
            "epochs": [trial.last_step or 0 for trial in trials],
            "seconds": pd.Series(
                [trial.duration.total_seconds() if trial.duration else None for trial in trials], dtype="float64"
            ),
            "error": pd.array([trial.user_attrs.get(ERROR) for trial in trials], dtype="string"),
            "retry_of": pd.array([trial.system_attrs.get("failed_trial") for trial in trials], dtype="Int64"),
        }
    )
    for name in sorted({name for trial in trials for name in trial.params}):
        values = [trial.params.get(name) for trial in trials]
        # A column of a file has one type.
        if {type(value) for value in values} - {type(None)} not in ({bool}, {int}, {float}, {int, float}, {str}):
            values = [None if value is None else str(value) for value in values]
        table[name] = values
    return table


def best_parameters_file(study: "Study", table: pd.DataFrame, parameters: Parameters) -> str:
    """Return the parameters of the best trial in the table, all that its training depends on, as a parameters.yml.

    Raises:
        GlowPipelineError: no trial has a finite value.
    """
    complete = table[table["state"] == "complete"].sort_values("val_bits_per_dim", kind="stable")
    if complete.empty:
        counts = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
        raise GlowPipelineError(
            f"search.ranges: no trial is complete ({counts}); lower the range of train.lr, or set train.max_grad_norm"
        )
    measured = f"validation images{' given their class' * parameters.model.y_condition}"
    best = study.trials[int(complete["number"].iloc[0])]
    lines = [
        f"{best.value:.4f} bits/dim on {measured}: trial {best.number} of {study.study_name}, which has",
        *(f"  {name}: {value}" for name, value in sorted(best.params.items())),
        "To train with it, copy this file to conf/best/parameters.yml and type",
        "  kedro run --env best --pipelines train",
    ]
    # The size of its batches is that of the processes that have searched; fewer or more give it other batches.
    values = {**best.params, "train.batch_size_per_device": None}
    chosen = with_values(parameters, values).model_dump(include={"dataset", "seed", "ingest", "model", "train"})
    return "".join(f"# {line}\n" for line in lines) + OmegaConf.to_yaml(OmegaConf.create(chosen))
