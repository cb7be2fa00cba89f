"""A resumed training ends in the same bits as an uninterrupted one."""

import math
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.training import step as step_module
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.state import best_weights_in
from glow_pipeline.training.step import TrainingStep
from glow_pipeline.training.trainer import Trainer
from glow_pipeline.training.weight_averaging import Average
from tests.processes import ended
from tests.training import faults
from tests.training.faults import PLANS, Moment, Plan, assert_same_bits, newest, resume, train_until
from tests.training.helpers import STEPS, Poison, Tables, inputs_of, new_glow, same, train

REFERENCES: dict[str, Checkpoint] = {}  # the ends of uninterrupted trainings, by plan


@pytest.fixture
def uninterrupted(tables: Tables, tmp_path: Path) -> Callable[[str], Checkpoint]:
    def end(name: str) -> Checkpoint:
        if name not in REFERENCES:
            resume(PLANS[name], tables, tmp_path / "uninterrupted", "10min")
            REFERENCES[name] = newest(tmp_path / "uninterrupted")
        return REFERENCES[name]

    return end


Uninterrupted = Callable[[str], Checkpoint]


def cut_off(tables: Tables, folder: Path, plan: Plan, moment: Moment, nth: int, every: str) -> None:
    """Train until SIGKILL at that moment."""
    proof = folder.parent / "proof"
    strike = partial(faults.strike_with, signal.SIGKILL, proof)
    assert ended(train_until, moment, nth, strike, plan, tables, folder, every) == -signal.SIGKILL
    proof.unlink()


# Killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(12, 40))])
def test_killed_at_random_steps_ends_in_same_bits(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, seed: int
) -> None:
    moments = random.Random(seed)
    name = list(PLANS)[seed % len(PLANS)]
    plan, reference = PLANS[name], uninterrupted(name)
    folder, every = tmp_path / "killed", moments.choice([1, 1, 2, 3, 7])
    done = 0
    for _ in range(moments.choice([1, 1, 2])):
        nth = moments.randint(1, reference.step - done)  # of the steps that are left
        cut_off(tables, folder, plan, faults.in_a_step, nth, f"{every}steps")
        taken = nth - 1  # and a checkpoint is written every so many of them
        assert newest(folder).step == done + taken - taken % every
        done = newest(folder).step
        if done == reference.step:
            break
    run = resume(plan, tables, folder, f"{every}steps")
    assert_same_bits(newest(folder), reference)
    assert same(run.model.state_dict(), best_weights_in(reference))


BEFORE_THE_NAME = [
    faults.before_opening,
    faults.half_written,
    faults.written_but_not_flushed,
    faults.flushed_but_not_renamed,
    faults.complete_but_not_named,
]
AFTER_THE_NAME = [
    faults.renamed_but_folder_not_flushed,
    faults.before_old_ones_are_deleted,
    faults.after_old_ones_are_deleted,
]


@pytest.mark.parametrize("nth", [1, 5])
@pytest.mark.parametrize("moment", [*BEFORE_THE_NAME, *AFTER_THE_NAME])
def test_killed_while_writing_ends_in_same_bits(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, moment: Moment, nth: int
) -> None:
    folder = tmp_path / "killed"
    cut_off(tables, folder, PLANS["plain"], moment, nth, "2steps")
    complete = 2 * (nth - (1 if moment in AFTER_THE_NAME else 2))  # the first is of step 0
    checkpoint = TrainingFolder(folder).newest()
    assert (None if checkpoint is None else checkpoint.step) == (complete if complete >= 0 else None)
    resume(PLANS["plain"], tables, folder, "2steps")
    assert_same_bits(newest(folder), uninterrupted("plain"))
    left = sorted(path.name for path in folder.iterdir() if path.name != "lock")
    assert left == [path.name for path in TrainingFolder(folder).checkpoints], "no half of one is left"
    assert len(left) == faults.KEEP


@pytest.mark.parametrize("name", ["everything", "skipped"])
@pytest.mark.parametrize("every", ["1steps", "10min"])
def test_killed_in_an_evaluation_ends_in_same_bits(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str, every: str
) -> None:
    folder = tmp_path / "killed"
    cut_off(tables, folder, PLANS[name], faults.in_an_evaluation, 2, every)
    start = newest(folder)
    assert start.step == (2 * STEPS if every == "1steps" else 0)
    assert len(start.record.history.epochs) == (1 if every == "1steps" else 0)
    resume(PLANS[name], tables, folder, every)
    assert_same_bits(newest(folder), uninterrupted(name))


@pytest.mark.parametrize("name", ["everything", "diverging"])
def test_finished_training_takes_no_step(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(name)  # before there are no steps
    first = resume(PLANS[name], tables, tmp_path / "ended", "10min")

    def step(*_: object) -> None:
        raise AssertionError("a step was taken")

    monkeypatch.setattr(TrainingStep, "__call__", step)
    again = resume(PLANS[name], tables, tmp_path / "ended", "10min")
    assert (again.epochs, again.saved) == ([], [])
    assert again.history == first.history
    assert same(again.model.state_dict(), first.model.state_dict())
    assert_same_bits(newest(tmp_path / "ended"), expected)


@pytest.mark.parametrize("name", PLANS)
def test_checkpoints_change_nothing(tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str) -> None:
    run = resume(PLANS[name], tables, tmp_path / "often", "1steps")
    assert_same_bits(newest(tmp_path / "often"), uninterrupted(name))
    if not PLANS[name].poisoned:
        alone = train(tables, new_glow(**PLANS[name].glow), y_weight=PLANS[name].y_weight, **PLANS[name].settings)
        assert same(run.model.state_dict(), alone.model.state_dict())


def test_damaged_checkpoints_start_again_to_same_bits(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "damaged"
    cut_off(tables, folder, PLANS["plain"], faults.in_a_step, 9, "2steps")
    damaged = TrainingFolder(folder).checkpoints
    for path in damaged:
        os.truncate(path, 100)
    resume(PLANS["plain"], tables, folder, "2steps")
    assert [str(path) in caplog.text for path in damaged] == [True] * faults.KEEP
    assert_same_bits(newest(folder), uninterrupted("plain"))


# Stopped --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "nth", "step"),
    [
        (faults.in_a_step, 8, 8),  # that step is finished
        (faults.in_a_step, STEPS, STEPS),  # before its evaluation
        (faults.in_an_evaluation, 1, STEPS + 1),  # the evaluation too
        (faults.in_an_evaluation, 3, 3 * STEPS),  # there is no further step
    ],
)
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_after_a_step_resumes_to_same_bits(
    tables: Tables,
    tmp_path: Path,
    uninterrupted: Uninterrupted,
    moment: Moment,
    nth: int,
    step: int,
    signum: int,
    code: int,
) -> None:
    folder, proof = tmp_path / "stopped", tmp_path / "proof"
    strike = partial(faults.strike_with, signum, proof)
    ends = ended(train_until, moment, nth, strike, PLANS["plain"], tables, folder, "10min")
    assert (ends, proof.exists()) == (code, True)
    assert newest(folder).step == step
    resume(PLANS["plain"], tables, folder, "10min")
    assert_same_bits(newest(folder), uninterrupted("plain"))


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_to_reading_processes_too_stops_alike(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, signum: int, code: int
) -> None:
    folder, proof, plan = tmp_path / "stopped", tmp_path / "proof", Plan(num_workers=1)
    strike = partial(faults.strike_all, signum, proof)
    ends = ended(train_until, faults.in_a_step, 8, strike, plan, tables, folder, "10min")
    assert (ends, proof.exists()) == (code, True)
    assert newest(folder).step == 8
    resume(PLANS["plain"], tables, folder, "10min")
    assert_same_bits(newest(folder), uninterrupted("plain"))


def test_second_signal_stops_at_once(tables: Tables, tmp_path: Path) -> None:
    folder, proof = tmp_path / "stopped", tmp_path / "proof"
    strike = partial(faults.strike_with, signal.SIGTERM, proof, 2)
    ends = ended(train_until, faults.in_a_step, 8, strike, PLANS["plain"], tables, folder, "10min")
    assert (ends, proof.exists()) == (-signal.SIGTERM, True)
    assert newest(folder).step == 0


def test_ignored_signal_stays_ignored(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Adamax, "update", Adamax.update)  # put back afterwards
            faults.in_a_step(3, partial(faults.strike_with, signal.SIGINT, tmp_path / "proof"))
            resume(PLANS["plain"], tables, tmp_path / "ignoring", "10min")
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "proof").exists()
    assert_same_bits(newest(tmp_path / "ignoring"), uninterrupted("plain"))


# Longer and shorter ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "LU"])
def test_more_epochs_are_those_of_longer_training(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str
) -> None:
    resume(PLANS[name], tables, tmp_path / "longer", "10min", n_epochs=1)
    assert newest(tmp_path / "longer").step == STEPS
    resume(PLANS[name], tables, tmp_path / "longer", "10min")
    assert_same_bits(newest(tmp_path / "longer"), uninterrupted(name))


def test_warmup_stays_that_of_the_start(tables: Tables, tmp_path: Path) -> None:
    plan = Plan({"warmup": 10.0})
    resume(plan, tables, tmp_path / "longer", "10min", n_epochs=2)
    resume(plan, tables, tmp_path / "longer", "10min", n_epochs=4)
    assert newest(tmp_path / "longer").record.warmup_steps == pytest.approx(0.2 * STEPS)


def test_fewer_epochs_than_done_train_nothing(tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    resume(PLANS["plain"], tables, tmp_path / "shorter", "10min")
    run = resume(PLANS["plain"], tables, tmp_path / "shorter", "10min", n_epochs=1)
    assert run.epochs == []
    assert_same_bits(newest(tmp_path / "shorter"), uninterrupted("plain"))


# Early stopping -------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped_after", [None, 1, 2, 3])
@pytest.mark.parametrize(
    ("values", "epochs", "best"),
    [
        ([3.0, 2.0, 2.5, 2.0, 1.0, 1.0], 4, 2),  # as good is not better
        ([3.0, 2.0, 2.5, 1.9, 2.0, 1.9, 1.0], 6, 4),
        ([3.0, math.nan, math.nan, 1.0], 3, 1),
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 7, 7),
    ],
)
def test_early_stopping_is_same_when_resumed(
    tables: Tables,
    tmp_path: Path,
    values: list[float],
    epochs: int,
    best: int,
    stopped_after: int | None,
) -> None:
    scripted = iter(values)
    plan = Plan({"n_epochs": 7, "early_stopping": 2, "sample_and_save_freq": 100})
    if stopped_after is not None:
        resume(plan, tables, tmp_path / "early", "10min", n_epochs=stopped_after, validation=scripted)
    run = resume(plan, tables, tmp_path / "early", "10min", validation=scripted)
    assert (len(run.history.epochs), run.history.best_epoch) == (epochs, best)
    if stopped_after is None or epochs > stopped_after:
        assert [done for _, done in run.saved] == [epochs]


def test_without_early_stopping_all_epochs_are_trained(tables: Tables) -> None:
    run = train(tables, n_epochs=5, validation=iter([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert len(run.history.epochs) == 5


# The average of the weights -------------------------------------------------------------------


def test_average_is_that_of_its_formula(monkeypatch: pytest.MonkeyPatch, tables: Tables) -> None:
    vectors: list[Tensor] = []
    averages: list[Tensor] = []
    original = Average.update

    def update(self: Average, steps: Tensor, updated: Tensor) -> None:
        if not vectors:
            assert self.value is not None
            averages.append(self.value.clone())  # where it begins
        original(self, steps, updated)
        vectors.append(self._vector.clone())
        averages.append(torch.as_tensor(self.value).clone())

    monkeypatch.setattr(Average, "update", update)
    monkeypatch.setattr(step_module, "losses", Poison({2, 12}))
    train(tables, ema=0.4, n_epochs=3)
    expected, t = averages[0].double().numpy(), 0
    for number, vector in enumerate(vectors):
        if number not in (2, 12):
            t += 1
            decay = min(0.4, (1 + t) / (10 + t))
            expected = decay * expected + (1 - decay) * vector.double().numpy()
        np.testing.assert_allclose(averages[number + 1].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert (1 + 6) / (10 + 6) > 0.4, "both sides of the minimum were met"
    assert t == 13


def test_averaged_weights_are_evaluated_but_not_trained(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []
    original = Trainer.queued_validation

    def evaluate(trainer: Trainer) -> Callable[[], float]:
        seen.append({name: tensor.clone() for name, tensor in trainer.flow.state_dict().items()})
        return original(trainer)

    monkeypatch.setattr(Trainer, "queued_validation", evaluate)
    averaged = resume(Plan({"ema": 0.9, "sample_and_save_freq": 1}), tables, tmp_path / "averaged", "10min")
    evaluated, shown = seen[:], averaged.after_epoch
    seen.clear()
    resume(Plan({"sample_and_save_freq": 1}), tables, tmp_path / "plain", "10min")

    ends = newest(tmp_path / "averaged"), newest(tmp_path / "plain")
    own, without = ({n: t for n, t in end.tensors.items() if n.startswith(("model.", "opt"))} for end in ends)
    assert same(own, without), "what is trained knows nothing of its average"
    assert "average" not in ends[1].tensors
    parameters = dict(new_glow().named_parameters())
    vector = torch.cat([evaluated[-1][name].reshape(-1) for name in parameters])
    assert torch.equal(vector.sort().values, ends[0].tensors["average"].sort().values)
    assert not same(evaluated[-1], seen[-1])
    assert all(same(a, b) for a, b in zip(evaluated, shown, strict=True)), "the reporter sees what was evaluated"
    best = averaged.history.best_epoch - 1
    assert same(averaged.model.state_dict(), evaluated[best])
    for (weights, _), row in zip(averaged.saved, range(3), strict=True):
        values = [epoch["val_bits_per_dim"] for epoch in averaged.history.epochs[: row + 1]]
        assert same(weights, evaluated[values.index(min(values))])


# Accumulation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [2, 3, 7])
@pytest.mark.parametrize("y_condition", [False, True])
def test_batch_in_parts_makes_the_same_step(accumulate: int, y_condition: bool) -> None:
    def after_a_step(parts: int) -> tuple[Tensor, Tensor]:
        model = new_glow(y_condition=True, num_classes=3) if y_condition else new_glow()
        model.initialize(inputs_of(model, n=7).x)
        model.double()
        optimizer = Adamax(model.parameters(), lr=0.01)
        inputs = inputs_of(model, seed=1, n=7)
        step = TrainingStep(model, optimizer, 0.5, 10, accumulate=parts)
        labels = (inputs.labels,) if y_condition else ()
        bits = step(inputs.x.double(), inputs.logdet.double(), *labels)
        return bits, optimizer._gradient

    bits, gradient = after_a_step(1)
    bits_in_parts, gradient_in_parts = after_a_step(accumulate)
    assert gradient.dtype == torch.float64
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(bits_in_parts, bits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient_in_parts, gradient, rtol=1e-10, atol=1e-10)


def test_training_in_parts_is_same_within_rounding(tables: Tables) -> None:
    at_once = train(tables, n_epochs=2).model.state_dict()
    for accumulate in (2, 3):
        parts = train(tables, n_epochs=2, accumulate=accumulate).model.state_dict()
        assert all(torch.allclose(parts[name], at_once[name], atol=1e-4) for name in at_once)
