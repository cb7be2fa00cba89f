"""Matrix: each model against each set of outliers, by the main score, by the likelihood, and by the compressed size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import read_record
from results.commands import configuration, fetch_images, run, versions_of, with_model
from results.origin import origin_now
from results.pages import NONE_YET, table
from results.presets import ordered
from results.rows import Row, Rows
from results.table import Table

N_IMAGES = 1000  # of each set
SCORES = ("density_sum", "nll", "complexity")
FIGURES = ("auroc", "auroc_low", "auroc_high", "fpr_at_95_tpr", "aupr_out")
KINDS = ("far", "near", "control")


def compute(preset: str, project: Path) -> Row:
    """Compare the scores of a model on all sets that are on disk."""
    ood = configuration(preset, project).checked_parameters
    sets = "all" if ood.ood.out_classes is None else f"{ood.out_image_selection.key}+all"
    typed = f"benchmark.out_datasets={sets},benchmark.n_images={N_IMAGES}"
    command, model = with_model(preset, "benchmark", project, typed)
    fetch_images(preset, project, command)
    run(command, project)
    path, version = versions_of("benchmark_table", preset, project)[0], read_record(model).provenance.kedro_session
    return {
        **origin_now(command, project),
        "version": path.parent.name,
        "model": version,
        "weights_sha256": stored_weights_sha256(model),
        "n_images": N_IMAGES,
        **_figures(pd.read_parquet(path), version),
    }


def _figures(pairs: pd.DataFrame, version: str | None) -> Row:
    """Return the figures of one model in a table of a benchmark, and the version of its detector.

    Raises:
        GlowPipelineError: the table is that of another model.
    """
    pairs = pairs[(pairs["model"] == version) & pairs["score"].isin(SCORES)]
    if pairs.empty:
        raise GlowPipelineError(f"benchmark_table: no row of model {version}; type the same command again")
    return {
        "detector": str(pairs["detector"].iloc[0]),
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
        f"\n### {name}\n\n`{row['command']}`\n\nModel {row['model']}, weights `{row['weights_sha256'][:16]}`; "
        f"detector {row['detector']}; commit {row['commit']}, {row['date']}, {row['machine']}.\n"
        f"{table(columns, lines).rstrip()}\n"
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


TABLE = Table("matrix", blocks, compute)
