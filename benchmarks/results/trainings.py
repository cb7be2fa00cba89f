"""Likelihood: the trained presets, with bits per dimension, size, speed and origin; and the curve of each training."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.plots.axes import LEGEND
from glow_pipeline.plots.style import colours_and_lines, legible, new_figure, style
from glow_pipeline.training.checkpoint import read_checkpoint
from glow_pipeline.training.history import Metrics
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import read_model
from glow_pipeline.training.records import ModelRecord
from results import goals
from results.commands import fetch_images, newest_model, run, versions_of
from results.origin import origin_of
from results.pages import table
from results.presets import changed_since, decided, ordered
from results.rows import Row, Rows
from results.table import Table

ROOT = Path(__file__).parents[2]
EPOCHS = (1, 2, 3, 5, 10, 15, 20, 30, 50, 75, 100, 200, 500)  # columns, and the last epoch
WIDTH, HEIGHT = 7.0, 4.2  # inches
LIKELIHOOD = (
    *("preset", "images", "bits", "fit", "K", "L", "hidden_channels", "epochs (best)", "bits/dim", "of the content"),
    *("images/s", "device"),
)
ORIGIN = ("preset", "command", "model", "SHA-256 of the weights", "commit", "day", "machine", "preset since then")


def compute(preset: str, project: Path) -> Row:
    """Train a preset, or resume its training, and return its row."""
    command = f"kedro run --env {preset} --pipelines train"
    fetch_images(preset, project, command)
    run(command, project)
    return stored(preset, project)


def stored(preset: str, project: Path) -> Row:
    """Return the row of the newest model that was trained with the preset.

    Raises:
        RowLeftOut: there is none.
        GlowPipelineError: its training diverged, or what it has stored beside the model has been removed.
    """
    model = newest_model(preset, project)
    trained = read_model(model)
    version, record = model.parent.name, trained.record
    metrics = _metrics(preset, version, project)
    if record.diverged or metrics["test_bits_per_dim"] is None:
        raise GlowPipelineError(f"{preset}: the training of model {version} diverged; train it with a lower train.lr")
    epochs = _epochs(model.parents[2] / "checkpoints", version, record)
    speed = median(epoch["images_per_second"] for epoch in epochs if epoch["images_per_second"])
    return {
        **origin_of(record.provenance, version[:10]),
        "version": version,
        "weights_sha256": stored_weights_sha256(model),
        "decided": decided(record.parameters),
        "shape": record.image_format.shape,
        "n_bits": record.image_format.n_bits,
        "fit": record.image_format.fit,
        "content_dimensions": _content_dimensions(record),
        "K": record.flow["K"],
        "L": record.flow["L"],
        "hidden_channels": record.flow["hidden_channels"],
        "n_parameters": sum(parameter.numel() for parameter in trained.flow.parameters()),
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "test_bits_per_dim": metrics["test_bits_per_dim"],
        "val_bits_per_dim": record.val_bits_per_dim,
        "n_test": metrics["n_test"],
        "images_per_second": round(speed),
        "device": f"{record.device}, {record.precision}",
        "curve": list(_curve(epochs, record.parameters["train"]["batch_size"], speed)),
    }


def _metrics(preset: str, version: str, project: Path) -> dict[str, Any]:
    """Return `train_metrics.json` of a model's training.

    Raises:
        GlowPipelineError: it has been removed.
    """
    for path in versions_of("train_metrics", preset, project):
        if path.parent.name == version:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    raise GlowPipelineError(f"{preset}: no train_metrics of model {version} in data/; train it again")


def _epochs(checkpoints: Path, version: str, record: ModelRecord) -> list[Metrics]:
    """Return the metrics of each epoch of a model's training, which its last checkpoint has.

    Raises:
        GlowPipelineError: it has been removed.
    """
    run_id = record.provenance.mlflow_run_id
    for path in sorted(checkpoints.glob("*/*/step_*.safetensors"), key=lambda path: path.name, reverse=True):
        found = read_checkpoint(path, with_tensors=False, check=False).record
        if found.provenance.kedro_session == version or (run_id is not None and found.mlflow_run_id == run_id):
            return found.history.epochs
    raise GlowPipelineError(f"{checkpoints}: no checkpoint of model {version}, which has its epochs; train it again")


def _curve(epochs: Sequence[Metrics], batch_size: int, speed: float) -> Iterator[list[float]]:
    """Yield epoch, images, seconds of training steps, and bits/dim of the validation images.

    Args:
        epochs: metrics of each. An epoch whose training resumed after its last step has no speed of its own.
        batch_size: images of a step.
        speed: images a second, for such an epoch.
    """
    seconds, before = 0.0, 0
    for row in epochs:
        seconds += (row["step"] - before) * batch_size / (row["images_per_second"] or speed)
        before = int(row["step"])
        yield [row["epoch"], row["step"] * batch_size, round(seconds, 1), round(row["val_bits_per_dim"], 4)]


def _content_dimensions(record: ModelRecord) -> int | None:
    """Return the number of an image's values without the border of `ingest.fit=pad`; None: images differ in size."""
    form, size = record.image_format, source_of(record.train_table.image_selection).size
    if form.fit != "pad":
        return math.prod(form.shape)
    if size is None:
        return None
    shrink = min(1.0, form.height / size[0], form.width / size[1])
    return form.channels * max(1, round(size[0] * shrink)) * max(1, round(size[1] * shrink))


def bits_of_content(row: Row) -> str:
    """Return all bits of a test image, those of its border too, per value of its content."""
    dimensions = math.prod(row["shape"])
    if row["content_dimensions"] is None:
        return "not known"
    if row["content_dimensions"] == dimensions:
        return "the same"
    return f"<= {row['test_bits_per_dim'] * dimensions / row['content_dimensions']:.3f}"


def likelihood_blocks(rows: Rows) -> dict[str, str]:
    """Return the figures of each preset, where they come from, and how far the goals are."""
    return {
        "likelihood": table(LIKELIHOOD, (_figures(preset, rows[preset]) for preset in ordered(rows))),
        "origin": table(ORIGIN, (_origin(preset, rows[preset]) for preset in ordered(rows))),
        **goals.blocks(rows),
    }


def expected_blocks(rows: Rows) -> dict[str, str]:
    """Return bits/dim of validation images by epoch, and the seconds of training steps until then."""
    last = max((row["curve"][-1][0] for row in rows.values()), default=0)
    shown = [epoch for epoch in EPOCHS if epoch <= last]
    lines, times = [], []
    for preset in ordered(rows):
        curve = {int(epoch): (images, seconds, bits) for epoch, images, seconds, bits in rows[preset]["curve"]}
        end = max(curve)
        images, seconds, bits = curve[end]
        cells = [f"{curve[epoch][2]:.3f}" if epoch in curve else "" for epoch in shown]
        lines.append([preset, *cells, f"{end}: {bits:.3f}"])
        minutes = [_duration(curve[epoch][1]) if epoch in curve else "" for epoch in shown]
        times.append([preset, *minutes, _duration(seconds), f"{images / end:,.0f}", rows[preset]["device"]])
    columns = ["preset; epoch", *map(str, shown)]
    return {
        "expected": table([*columns, "last"], lines),
        "time": table([*columns, "all", "images an epoch", "device"], times),
    }


def curves(rows: Rows) -> Figure:
    """Draw bits/dim of validation images by epoch, a curve a preset."""
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    style(axes)
    for preset, (colour, line) in zip(ordered(rows), colours_and_lines(), strict=False):
        row = rows[preset]
        epochs, bits = [point[0] for point in row["curve"]], [point[3] for point in row["curve"]]
        axes.plot(epochs, bits, color=colour, linestyle=line, label=f"{preset}, {row['n_bits']} bits")
    axes.set_xscale("log")
    last = max(row["curve"][-1][0] for row in rows.values())
    axes.set_xticks([epoch for epoch in EPOCHS if epoch <= last], minor=False)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("epoch")
    axes.set_ylabel("bits/dim of validation images")
    figure.legend(loc="outside right center", fontsize=legible(WIDTH, LEGEND))  # beside the curves, not over one
    return figure


def _figures(preset: str, row: Row) -> list[str]:
    return [
        f"`{preset}`",
        "x".join(map(str, row["shape"])),
        str(row["n_bits"]),
        row["fit"],
        *(str(row[name]) for name in ("K", "L", "hidden_channels")),
        f"{row['epochs']} ({row['best_epoch']})",
        f"{row['test_bits_per_dim']:.3f}",
        bits_of_content(row),
        f"{row['images_per_second']:,}",
        row["device"],
    ]


def _origin(preset: str, row: Row) -> list[str]:
    origin = [row["version"], f"`{row['weights_sha256'][:16]}`", row["commit"] or "", row["date"], row["machine"]]
    return [f"`{preset}`", f"`{row['command']}`", *origin, changed_since(preset, row["decided"], ROOT) or "the same"]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


LIKELIHOOD_TABLE = Table("likelihood", likelihood_blocks, compute, stored)
EXPECTED_TABLE = Table("expected", expected_blocks, compute, stored, rows="likelihood")
