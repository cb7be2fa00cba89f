"""Matrix: each model against each set of outliers, by the main score, by the likelihood, and by the compressed size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.commands import configuration, fetch_images, newest, run, with_model
from results.origin import origin_now
from results.pages import NONE_YET, table
from results.presets import PRESETS, ordered
from results.rows import Row, Rows
from results.table import Table

N_IMAGES = 1000  # of each set
SCORES = ("density_sum", "nll", "complexity")
FIGURES = ("auroc", "auroc_low", "auroc_high", "fpr_at_95_tpr", "aupr_out")
KINDS = ("far", "near", "control")


def compute(preset: str, project: Path) -> Row:
    """Compare the scores of a model on all sets that are on disk."""
    command = _command(preset, project)
    fetch_images(preset, project, command)
    run(command, project)
    return stored(preset, project)


def stored(preset: str, project: Path) -> Row:
    """Return the row of the newest benchmark of a model."""
    path = newest("benchmark_table", preset, project)
    pairs = pd.read_parquet(path)
    pairs = pairs[pairs["score"].isin(SCORES)]
    return {
        **origin_now(_command(preset, project), project),
        "version": path.parent.name,
        "model": str(pairs["model"].iloc[0]),
        "n_images": N_IMAGES,
        "sets": {
            str(name): {
                **{column: found[column].iloc[0].item() for column in ("n_in", "n_out")},
                "kind": str(found["kind"].iloc[0]),
                "scores": {
                    str(row["score"]): {figure: round(float(row[figure]), 5) for figure in FIGURES}
                    for row in found.to_dict("records")
                },
            }
            for name, found in pairs.groupby("out_dataset", sort=False)
        },
    }


def _command(preset: str, project: Path) -> str:
    parameters = configuration(preset, project).checked_parameters
    sets = "all" if parameters.ood.out_classes is None else f"{parameters.out_image_selection.key}+all"
    return with_model(preset, "benchmark", project, f"benchmark.out_datasets={sets},benchmark.n_images={N_IMAGES}")


def blocks(rows: Rows) -> dict[str, str]:
    """Return the main score's AUROC of all models, and all figures of each model."""
    models = ordered(rows)
    sets = list(dict.fromkeys((out["kind"], name) for each in models for name, out in rows[each]["sets"].items()))
    sets.sort(key=lambda pair: KINDS.index(pair[0]))
    matrix = [
        [f"{name}, {kind}", *(_main(rows[each]["sets"].get(name), kind) for each in models)] for kind, name in sets
    ]
    return {
        "matrix": table(["outliers", *(f"`{each}`" for each in models)], matrix),
        "models": "".join([*(_of_model(each, rows[each]) for each in models), "\n"]) if models else NONE_YET,
    }


def _main(out: Mapping[str, Any] | None, kind: str) -> str:
    return "" if out is None or out["kind"] != kind else _with_interval(out["scores"][SCORES[0]])


def _of_model(name: str, row: Row) -> str:
    """Return a section with all figures of one model."""
    columns = ["outliers", "n in / out"]
    columns += [column for score in SCORES for column in (f"`{score}` AUROC [95%]", "FPR@95", "AUPR")]
    sets = sorted(row["sets"].items(), key=lambda pair: KINDS.index(pair[1]["kind"]))
    lines = [
        [f"{out}, {found['kind']}", f"{found['n_in']:,} / {found['n_out']:,}", *_cells(found["scores"])]
        for out, found in sets
    ]
    return (
        f"\n### {name}\n\n`{row['command']}`\n\nModel {row['model']}; commit {row['commit']}, {row['date']}, "
        f"{row['machine']}.\n{table(columns, lines).rstrip()}\n"
    )


def _cells(scores: Mapping[str, Mapping[str, float]]) -> Sequence[str]:
    return [
        cell
        for score in SCORES
        for cell in (
            _with_interval(scores[score]),
            _share(scores[score]["fpr_at_95_tpr"]),
            _share(scores[score]["aupr_out"]),
        )
    ]


def _with_interval(score: Mapping[str, float]) -> str:
    return f"{_share(score['auroc'])} [{_share(score['auroc_low'])}, {_share(score['auroc_high'])}]"


def _share(value: float) -> str:
    """Return a number from 0 to 1 with three decimals, without the zero before the point."""
    return f"{value:.3f}".removeprefix("0")


TABLE = Table("matrix", lambda _: PRESETS, compute, blocks, stored)
