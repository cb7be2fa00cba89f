"""Settings: one dataset trained with many settings at equal cost.

The cost is that of `EPOCHS` epochs with the parameters of `BASE`. Each setting changes some of them. It gets as many
steps as take the same time: before it trains, its steps and those of the base are timed in turn. Learning rates rise
for the first tenth of all steps, unless the setting says otherwise. The best settings, and the base itself, are trained
with two more seeds. Each training has one thread and a process of its own.

A row is a training. Figures are of the validation images, which no model trained on; in bits per pixel of the content
too, so that image sizes compare.
"""

import math
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from filelock import FileLock

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.images.parts import Parts, split_parts
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.parameters import Parameters, as_typed, flattened, with_values
from glow_pipeline.randomness import generator
from glow_pipeline.training.distributed.process_group import SingleProcess
from glow_pipeline.training.evaluation import mean_bits_per_dim
from glow_pipeline.training.inputs import initialize, inputs_of
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.passes import Passes
from glow_pipeline.training.state import initial_state
from results.commands import configuration
from results.origin import origin_now
from results.pages import table
from results.rows import Row, RowLeftOut, Rows
from results.table import Table

CPU = torch.device("cpu")
EPOCHS = 0.75  # cost of each training, in epochs of the base
BEST, SEEDS = 4, (1, 2)  # settings that are trained with further seeds
JOBS = 2  # trainings at once
CONTENT = 28 * 28  # pixels of an image without its border
WARMUP = 0.1  # share of all steps
TIMED = 5  # rounds in which both settings are timed

# Written out, so that presets may change and the rows still compare.
BASE: dict[str, Any] = {
    "dataset": "fashionmnist",
    "ingest": {"size": 28},
    "model": {"K": 8, "L": 2, "hidden_channels": 64},
    "train": {"batch_size": 32, "lr": 2e-3, "warmup": 1.0, "max_grad_norm": 100.0, "ema": 0.0},
}
BASE_TYPED = ", ".join(f"{name}={as_typed(value)}" for name, value in flattened(BASE).items())
UNCHANGED = "unchanged"
SETTINGS: dict[str, dict[str, object]] = {
    UNCHANGED: {},
    "max_grad_norm=0": {"train.max_grad_norm": 0.0},
    "batch_size=16": {"train.batch_size": 16},
    "batch_size=64": {"train.batch_size": 64},
    "batch_size=128": {"train.batch_size": 128},
    "lr=1e-3": {"train.lr": 1e-3},
    "lr=5e-3": {"train.lr": 5e-3},
    "ema=.99": {"train.ema": 0.99},
    "K=16": {"model.K": 16},
    "K=16, hidden_channels=32": {"model.K": 16, "model.hidden_channels": 32},
    "hidden_channels=32": {"model.hidden_channels": 32},
    "hidden_channels=128": {"model.hidden_channels": 128},
    "flow_coupling=additive": {"model.flow_coupling": "additive"},
    "size=32, fit=pad, L=3": {"ingest.size": 32, "ingest.fit": "pad", "model.L": 3},
    "scale_floor=.1": {"model.scale_floor": 0.1},
    "LU_decomposed=true": {"model.LU_decomposed": True},
    "learn_top=true": {"model.learn_top": True},
    "warmup=0": {"train.warmup": 0.0},
    "flow_permutation=shuffle": {"model.flow_permutation": "shuffle"},
    "flow_permutation=reverse": {"model.flow_permutation": "reverse"},
}


class Training:
    """A flow, its training batches and its steps: the loop of `training.trainer` without checkpoints and reports."""

    def __init__(self, parameters: Parameters, project: Path, steps: int | None = None) -> None:
        self.parameters, train = parameters, parameters.train
        self.parts = parts_of(parameters, project)
        record = self.parts.fit.record
        self.flow: Glow = untrained_flow(parameters, record.image_format, record.num_classes)
        self.flow.execution = Execution()
        self.batches = Batches(self.parts.fit, train.batch_size, CPU, drop_last=True)
        initialize(self.flow, Passes(self.batches, parameters.seed).first_batch(), parameters.seed)
        self.state = initial_state(self.flow, self.batches, train, parameters.model.y_weight, SingleProcess())
        self.state.step.average.start()
        self.state.step.optimizer.warmup_steps = 0 if not train.warmup or steps is None else WARMUP * steps

    def run(self, steps: int, done: Callable[[], object] = lambda: None) -> None:
        """Make so many steps."""
        self.flow.train()
        for number, batch in zip(range(steps), self.endless(), strict=False):
            inputs = inputs_of(self.flow, batch, self.parameters.seed, number, flip=self.parameters.train.flip)
            self.state.step(*inputs)
            done()

    def endless(self) -> Iterator[Batch]:
        """Return the batches of one epoch after the other."""
        epoch = 0
        while True:
            epoch += 1
            yield from self.batches.shuffled(generator(self.parameters.seed, "shuffle", epoch))

    def bits_per_dim(self) -> float:
        """Return the mean over the validation images, with the averaged weights where there are some."""
        self.flow.eval()
        with self.state.step.average.applied():
            return mean_bits_per_dim(self.flow, Batches(self.parts.validation, 256, CPU), self.parameters.seed)


def parts_of(parameters: Parameters, project: Path) -> Parts:
    """Return the parts of the prepared training table, which is written once for each image format.

    Raises:
        RowLeftOut: the images are not on disk.
    """
    selection, image_format = parameters.image_selection, parameters.image_format
    path = project / "build" / "results" / "tables" / f"{selection.key}_{image_format.key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_dir():
            raw = project / "data" / "01_raw"
            if source_of(selection).on_disk(raw)[1]:
                raise RowLeftOut(f"{selection.key} is not in {raw}; first make results TABLE=likelihood")
            plan_table(selection, "train", image_format, raw).write(path)
    ingest = parameters.ingest
    return split_parts(ImageTable(path), ingest.val_percentage, ingest.calibration_percentage, parameters.seed)


def cost_of_step(own: Parameters, base: Parameters, project: Path) -> float:
    """Return the time of a step in steps of `base`: the median of rounds in which both are timed in turn."""
    trainings = [Training(own, project), Training(base, project)]
    for training in trainings:
        training.run(1)
    return median(seconds_of_step(trainings[0]) / seconds_of_step(trainings[1]) for _ in range(TIMED))


def seconds_of_step(training: Training) -> float:
    """Return the processor's seconds of one step, which what else runs changes little."""
    before = time.thread_time()
    training.run(2)
    return (time.thread_time() - before) / 2


def compute(name: str, project: Path) -> Row:
    """Train one setting with one seed."""
    torch.set_num_threads(1)
    setting, seed = setting_and_seed(name)
    base = configuration("base", project, {**BASE, "seed": seed}).checked_parameters
    return trained(setting, base, project, EPOCHS)


def trained(setting: str, base: Parameters, project: Path, epochs: float) -> Row:
    """Train a setting, at the cost of so many epochs of the base.

    Returns:
        bits_per_dim: of the validation images.
        dimensions: of an image.
        steps, batch_size: steps made, and images of each.
        cost: of a step, in steps of the base.
        n_parameters: of the flow.
        seconds: of all steps, beside whatever else ran.
    """
    own = with_values(base, SETTINGS[setting])
    cost = cost_of_step(own, base, project) if SETTINGS[setting] else 1.0
    base_steps = math.floor(epochs * len(parts_of(base, project).fit) / base.train.batch_size)
    steps = max(1, round(base_steps / cost))
    training, start = Training(own, project, steps), time.monotonic()
    training.run(steps)
    return {
        **origin_now(
            f"python benchmarks/make_tables.py settings --rows {shlex.quote(row_name(setting, base.seed))}", project
        ),
        "setting": setting,
        "seed": base.seed,
        "base": f"{BASE_TYPED}, {epochs:g} epochs",
        "bits_per_dim": training.bits_per_dim(),
        "dimensions": training.flow.dimensions,
        "steps": steps,
        "batch_size": own.train.batch_size,
        "cost": cost,
        "n_parameters": sum(parameter.numel() for parameter in training.flow.parameters()),
        "seconds": time.monotonic() - start,
    }


def row_name(setting: str, seed: int) -> str:
    """Return the name of a training's row."""
    return f"{setting}, seed {seed}"


def setting_and_seed(name: str) -> tuple[str, int]:
    """Return both parts of a row's name.

    Raises:
        RowLeftOut: there is no such setting.
    """
    setting, _, seed = name.rpartition(", seed ")
    if setting not in SETTINGS or not seed.isdecimal():
        raise RowLeftOut(
            f"no such setting; type one of SETTINGS in benchmarks/results/settings.py as {UNCHANGED}, seed 0"
        )
    return setting, int(seed)


def wanted(rows: Rows) -> list[str]:
    """Return the rows of all settings with one seed; once these are there, those of the best with more."""
    first = [row_name(setting, 0) for setting in SETTINGS]
    if any(name not in rows for name in first):
        return first
    best = [setting for setting in by_setting({name: rows[name] for name in first}) if setting != UNCHANGED][:BEST]
    return first + [row_name(setting, seed) for seed in SEEDS for setting in (UNCHANGED, *best)]


def by_setting(rows: Rows) -> dict[str, list[Row]]:
    """Return the rows of each setting by seed, the best setting first."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows.values(), key=lambda row: int(row["seed"])):
        found.setdefault(row["setting"], []).append(row)
    return dict(sorted(found.items(), key=lambda pair: mean(map(bits_of_content, pair[1]))))


def bits_of_content(row: Row) -> float:
    """Return all bits of an image, those of its border too, per pixel of its content."""
    return float(row["bits_per_dim"] * row["dimensions"] / CONTENT)


def blocks(rows: Rows) -> dict[str, str]:
    """Return the table, with the differences to the base of the same seed."""
    columns = (
        "setting",
        "bits/dim",
        "of the content",
        "to the base",
        "other seeds",
        "steps x images",
        "cost of a step",
    )
    base = rows.get(row_name(UNCHANGED, 0))
    bases = "".join(f"\nThe base: {each}.\n" for each in sorted({row["base"] for row in rows.values()}))
    lines = (_cells(each, base) for each in by_setting(rows).values())
    return {"settings": bases + table([*columns, "parameters"], lines)}


def _cells(trainings: list[Row], base: Row | None) -> list[str]:
    one, *others = trainings
    bits = bits_of_content(one)
    spread = f" (sd {stdev(row['bits_per_dim'] for row in trainings):.3f})" if others else ""
    return [
        one["setting"],
        f"{one['bits_per_dim']:.3f}",
        f"{bits:.3f}",
        "" if base is None else f"{bits - bits_of_content(base):+.3f}",
        ", ".join(f"{row['bits_per_dim']:.3f}" for row in others) + spread,
        f"{one['steps']:,} x {one['batch_size']}",
        f"{one['cost']:.2f}",
        f"{one['n_parameters']:,}",
    ]


TABLE = Table("settings", blocks, compute, wanted=wanted, jobs=JOBS)
