"""Trainings that resume after an interruption, and interruptions at chosen moments, in another process."""

import itertools
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.training import checkpoint as checkpoint_module
from glow_pipeline.training import step as step_module
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.checkpoint import UNNAMED, Checkpoint
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule, TrainingFolder
from glow_pipeline.training.trainer import Trainer
from tests.training.helpers import Poison, Run, Tables, new_glow, train

KEEP = 2
WRITES = "save_file"  # what writes a checkpoint's content


@dataclass(frozen=True)
class Plan:
    """A training.

    Attributes:
        poisoned: the steps, counted from 0, whose loss is not finite.
        num_workers: processes that read ahead.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    glow: dict[str, object] = field(default_factory=dict)
    y_weight: float = 0.0
    poisoned: frozenset[int] = frozenset()
    num_workers: int = 0


PLANS = {
    "plain": Plan(),
    "everything": Plan(
        {
            "n_epochs": 6,
            "ema": 0.9,
            "accumulate": 2,
            "max_grad_norm": 1.0,
            "flip": True,
            "mutation": 0.2,
            "warmup": 1.0,
        },
        y_weight=0.5,
    ),
    "classes": Plan(glow={"y_condition": True, "num_classes": 3}, y_weight=0.5),
    "LU": Plan({"ema": 0.99}, {"LU_decomposed": True, "learn_top": True}),
    "skipped": Plan({"ema": 0.9}, poisoned=frozenset({3, 4, 6, 7, 9, 14})),
    "epochs within passes": Plan({"epoch_images": 24, "n_epochs": 7, "ema": 0.9, "flip": True}),
    "diverging": Plan({"max_skipped_steps": 4}, poisoned=frozenset(range(7, 100))),
}


def resume(plan: Plan, tables: Tables, path: Path, every: str, **changed: Any) -> Run:
    """Train from the newest checkpoint, or from the start, as a command does."""
    folder = TrainingFolder(path)
    assert folder.claim()
    start = folder.newest()
    with pytest.MonkeyPatch.context() as patch:
        if plan.poisoned:
            done = 0 if start is None else start.step
            patch.setattr(step_module, "losses", Poison({step - done for step in plan.poisoned}))
        run = train(
            tables,
            new_glow(**plan.glow),
            y_weight=plan.y_weight,
            checkpoints=CheckpointSchedule(folder, Interval.parse(every), KEEP),
            start=start,
            num_workers=plan.num_workers,
            **{**plan.settings, **changed},
        )
    folder.release()
    return run


def newest(path: Path) -> Checkpoint:
    checkpoint = TrainingFolder(path).newest()
    assert checkpoint is not None
    return checkpoint


def bits_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def assert_same_bits(ours: Checkpoint, theirs: Checkpoint) -> None:
    """Compare everything in two checkpoints but the speed."""
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert [name for name in ours.tensors if bits_of(ours.tensors[name]) != bits_of(theirs.tensors[name])] == []
    assert _timeless(ours) == _timeless(theirs)


def _timeless(checkpoint: Checkpoint) -> str:
    record = json.loads(checkpoint.record.model_dump_json())
    for row in record["history"]["epochs"]:
        del row["images_per_second"]
    return json.dumps(record, sort_keys=True)


# Moments --------------------------------------------------------------------------------------
# Each calls `strike` at its nth time, counted from 1.

Strike = Callable[[], None]


def in_a_step(nth: int, strike: Strike) -> None:
    """The weights are new, and nothing else is."""
    _replaced(Adamax, "update", nth, after=strike)


def in_an_evaluation(nth: int, strike: Strike) -> None:
    """The epoch's steps are done, its row is not."""
    _replaced(Trainer, "queued_validation", nth, before=strike)


def before_opening(nth: int, strike: Strike) -> None:
    _replaced(checkpoint_module, WRITES, nth, before=strike)


def half_written(nth: int, strike: Strike) -> None:
    original, times = getattr(checkpoint_module, WRITES), itertools.count(1)

    def write(tensors: dict[str, Tensor], path: Path, **options: Any) -> None:
        original(tensors, path, **options)
        if next(times) == nth:
            os.truncate(path, path.stat().st_size // 2)
            strike()

    setattr(checkpoint_module, WRITES, write)


def written_but_not_flushed(nth: int, strike: Strike) -> None:
    _replaced(os, "fsync", nth, before=strike, where=lambda file: stat.S_ISREG(os.fstat(file).st_mode))


def flushed_but_not_renamed(nth: int, strike: Strike) -> None:
    _replaced(Path, "replace", nth, before=strike, where=lambda path, *_: path.name.endswith(f".{UNNAMED}"))


def complete_but_not_named(nth: int, strike: Strike) -> None:
    _replaced(Path, "replace", nth, before=strike, where=lambda path, *_: path.name == UNNAMED)


def renamed_but_folder_not_flushed(nth: int, strike: Strike) -> None:
    _replaced(Path, "replace", nth, after=strike, where=lambda path, *_: path.name == UNNAMED)


def before_old_ones_are_deleted(nth: int, strike: Strike) -> None:
    _replaced(TrainingFolder, "keep_newest", nth, before=strike)


def after_old_ones_are_deleted(nth: int, strike: Strike) -> None:
    _replaced(TrainingFolder, "keep_newest", nth, after=strike)


def _replaced(
    owner: Any,
    name: str,
    nth: int,
    *,
    before: Strike | None = None,
    after: Strike | None = None,
    where: Callable[..., bool] = lambda *_: True,
) -> None:
    original, times = getattr(owner, name), itertools.count(1)

    def replacement(*arguments: Any, **options: Any) -> Any:
        now = where(*arguments) and next(times) == nth
        if now and before is not None:
            before()
        result = original(*arguments, **options)
        if now and after is not None:
            after()
        return result

    setattr(owner, name, replacement)


# What happens then, in a process of its own ---------------------------------------------------

Moment = Callable[[int, Strike], None]


def strike_with(signum: int, proof: Path, times: int = 1) -> None:
    """Send this process a signal, and leave a proof that this happened."""
    proof.touch()
    for _ in range(times):
        os.kill(os.getpid(), signum)


def strike_all(signum: int, proof: Path) -> None:
    """Let another process send a signal to this one and its children, as a scheduler does, and leave a proof."""
    proof.touch()
    command = f"import os; os.killpg({os.getpgid(0)}, {int(signum)})"
    subprocess.run([sys.executable, "-c", command], start_new_session=True, check=True)
    time.sleep(0.5)  # by now all have it


def train_until(moment: Moment, nth: int, strike: Strike, plan: Plan, tables: Tables, path: Path, every: str) -> None:
    """Resume a training, in a process group of its own, until it is struck at that moment."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # workers are made as in a command
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest itself may run in the background
    moment(nth, strike)
    try:
        resume(plan, tables, path, every)
    except TrainingStopped as stopped:
        sys.exit(stopped.exit_code)
