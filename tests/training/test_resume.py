"""A training that was cut off goes on to the same bits as one that was not."""

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

from glow_pipeline.training import fit as fit_module
from glow_pipeline.training import step as step_module
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.checkpoint import Checkpoint, TrainingFolder
from glow_pipeline.training.evaluation import mean_bits_per_dim
from glow_pipeline.training.state import best_weights_in
from glow_pipeline.training.step import TrainingStep
from glow_pipeline.training.weight_averaging import Average
from tests.processes import ended
from tests.training import faults
from tests.training.faults import PLANS, Moment, Plan, assert_same_bits, go_on, newest, train_until
from tests.training.helpers import STEPS, Poison, Tables, inputs_of, new_glow, same, train

REFERENCES: dict[str, Checkpoint] = {}  # the ends of trainings that were never cut off, by plan


@pytest.fixture
def uninterrupted(tables: Tables, tmp_path: Path) -> Callable[[str], Checkpoint]:
    def end(name: str) -> Checkpoint:
        if name not in REFERENCES:
            go_on(PLANS[name], tables, tmp_path / "uninterrupted", "10min")
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


@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 40))])
def test_killed_at_random_steps_it_comes_to_the_same_bits(
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
    run = go_on(plan, tables, folder, f"{every}steps")
    assert_same_bits(newest(folder), reference)
    assert same(run.model.state_dict(), best_weights_in(reference))


BEFORE_THE_NAME = [
    faults.before_opening,
    faults.half_written,
    faults.written_but_not_flushed,
    faults.flushed_but_not_renamed,
    faults.whole_but_not_named,
]
AFTER_THE_NAME = [
    faults.renamed_but_folder_not_flushed,
    faults.before_old_ones_are_deleted,
    faults.after_old_ones_are_deleted,
]


@pytest.mark.parametrize("nth", [1, 5])
@pytest.mark.parametrize("moment", [*BEFORE_THE_NAME, *AFTER_THE_NAME])
def test_killed_while_it_writes_a_checkpoint_it_comes_to_the_same_bits(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, moment: Moment, nth: int
) -> None:
    folder = tmp_path / "killed"
    cut_off(tables, folder, PLANS["plain"], moment, nth, "2steps")
    whole = 2 * (nth - (1 if moment in AFTER_THE_NAME else 2))  # the first is of step 0
    checkpoint = TrainingFolder(folder).newest()
    assert (None if checkpoint is None else checkpoint.step) == (whole if whole >= 0 else None)
    go_on(PLANS["plain"], tables, folder, "2steps")
    assert_same_bits(newest(folder), uninterrupted("plain"))
    left = sorted(path.name for path in folder.iterdir() if path.name != "lock")
    assert left == [path.name for path in TrainingFolder(folder).checkpoints], "no half of one is left"
    assert len(left) == faults.KEEP


@pytest.mark.parametrize("name", ["everything", "skipped"])
@pytest.mark.parametrize("every", ["1steps", "10min"])
def test_killed_between_an_epochs_last_step_and_its_evaluation(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str, every: str
) -> None:
    folder = tmp_path / "killed"
    cut_off(tables, folder, PLANS[name], faults.in_an_evaluation, 2, every)
    start = newest(folder)
    assert start.step == (2 * STEPS if every == "1steps" else 0)
    assert len(start.facts["history"]["epochs"]) == (1 if every == "1steps" else 0)
    go_on(PLANS[name], tables, folder, every)
    assert_same_bits(newest(folder), uninterrupted(name))


@pytest.mark.parametrize("name", ["everything", "diverging"])
def test_after_its_end_nothing_is_trained_any_more(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = go_on(PLANS[name], tables, tmp_path / "ended", "10min")

    def step(*_: object) -> None:
        raise AssertionError("a step was taken")

    monkeypatch.setattr(TrainingStep, "__call__", step)
    again = go_on(PLANS[name], tables, tmp_path / "ended", "10min")
    assert (again.epochs, again.saved) == ([], [])
    assert again.history == first.history
    assert same(again.model.state_dict(), first.model.state_dict())
    assert_same_bits(newest(tmp_path / "ended"), uninterrupted(name))


@pytest.mark.parametrize("name", PLANS)
def test_checkpoints_change_nothing(tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str) -> None:
    run = go_on(PLANS[name], tables, tmp_path / "often", "1steps")
    assert_same_bits(newest(tmp_path / "often"), uninterrupted(name))
    if not PLANS[name].poisoned:
        alone = train(tables, new_glow(**PLANS[name].glow), y_weight=PLANS[name].y_weight, **PLANS[name].settings)
        assert same(run.model.state_dict(), alone.model.state_dict())


def test_all_checkpoints_damaged_it_begins_anew_and_comes_to_the_same_bits(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "damaged"
    cut_off(tables, folder, PLANS["plain"], faults.in_a_step, 9, "2steps")
    damaged = TrainingFolder(folder).checkpoints
    for path in damaged:
        os.truncate(path, 100)
    go_on(PLANS["plain"], tables, folder, "2steps")
    assert [str(path) in caplog.text for path in damaged] == [True] * faults.KEEP
    assert_same_bits(newest(folder), uninterrupted("plain"))


# Asked to stop --------------------------------------------------------------------------------


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
def test_asked_to_stop_it_finishes_its_step_and_goes_on_to_the_same_bits(
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
    go_on(PLANS["plain"], tables, folder, "10min")
    assert_same_bits(newest(folder), uninterrupted("plain"))


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_with_its_workers_it_stops_as_alone(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, signum: int, code: int
) -> None:
    folder, proof, plan = tmp_path / "stopped", tmp_path / "proof", Plan(num_workers=1)
    strike = partial(faults.strike_all, signum, proof)
    ends = ended(train_until, faults.in_a_step, 8, strike, plan, tables, folder, "10min")
    assert (ends, proof.exists()) == (code, True)
    assert newest(folder).step == 8
    go_on(PLANS["plain"], tables, folder, "10min")
    assert_same_bits(newest(folder), uninterrupted("plain"))


def test_asked_twice_it_stops_at_once(tables: Tables, tmp_path: Path) -> None:
    folder, proof = tmp_path / "stopped", tmp_path / "proof"
    strike = partial(faults.strike_with, signal.SIGTERM, proof, 2)
    ends = ended(train_until, faults.in_a_step, 8, strike, PLANS["plain"], tables, folder, "10min")
    assert (ends, proof.exists()) == (-signal.SIGTERM, True)
    assert newest(folder).step == 0


def test_an_ignored_signal_stays_ignored(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Adamax, "step", Adamax.step)  # put back afterwards
            faults.in_a_step(3, partial(faults.strike_with, signal.SIGINT, tmp_path / "proof"))
            go_on(PLANS["plain"], tables, tmp_path / "ignoring", "10min")
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "proof").exists()
    assert_same_bits(newest(tmp_path / "ignoring"), uninterrupted("plain"))


# Longer and shorter ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "LU"])
def test_more_epochs_than_the_first_time_are_those_of_a_longer_training(
    tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted, name: str
) -> None:
    go_on(PLANS[name], tables, tmp_path / "longer", "10min", n_epochs=1)
    assert newest(tmp_path / "longer").step == STEPS
    go_on(PLANS[name], tables, tmp_path / "longer", "10min")
    assert_same_bits(newest(tmp_path / "longer"), uninterrupted(name))


def test_the_warmup_stays_what_it_was_at_the_beginning(tables: Tables, tmp_path: Path) -> None:
    plan = Plan({"warmup": 10.0})
    go_on(plan, tables, tmp_path / "longer", "10min", n_epochs=2)
    go_on(plan, tables, tmp_path / "longer", "10min", n_epochs=4)
    assert newest(tmp_path / "longer").facts["warmup_steps"] == pytest.approx(0.2 * STEPS)


def test_fewer_epochs_than_are_done_train_nothing(tables: Tables, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    go_on(PLANS["plain"], tables, tmp_path / "shorter", "10min")
    run = go_on(PLANS["plain"], tables, tmp_path / "shorter", "10min", n_epochs=1)
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
def test_it_stops_early_exactly_then_whether_it_was_stopped_before_or_not(
    tables: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: list[float],
    epochs: int,
    best: int,
    stopped_after: int | None,
) -> None:
    scripted = iter(values)
    monkeypatch.setattr(fit_module, "mean_bits_per_dim", lambda *_, **__: next(scripted))
    plan = Plan({"n_epochs": 7, "early_stopping": 2, "sample_and_save_freq": 100})
    if stopped_after is not None:
        go_on(plan, tables, tmp_path / "early", "10min", n_epochs=stopped_after)
    run = go_on(plan, tables, tmp_path / "early", "10min")
    assert (len(run.history.epochs), run.history.best_epoch) == (epochs, best)
    if stopped_after is None or epochs > stopped_after:
        assert [done for _, done in run.saved] == [epochs]


def test_without_early_stopping_all_epochs_are_trained(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = iter([1.0, 2.0, 3.0, 4.0, 5.0])
    monkeypatch.setattr(fit_module, "mean_bits_per_dim", lambda *_, **__: next(scripted))
    assert len(train(tables, n_epochs=5).history.epochs) == 5


# The average of the weights -------------------------------------------------------------------


def test_the_average_is_that_of_its_formula(monkeypatch: pytest.MonkeyPatch, tables: Tables) -> None:
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


def test_averaged_weights_are_evaluated_kept_and_shown_and_training_goes_on_with_its_own(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []
    original = mean_bits_per_dim

    def evaluate(model: torch.nn.Module, *arguments: object, **options: object) -> float:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return original(model, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(fit_module, "mean_bits_per_dim", evaluate)
    averaged = go_on(Plan({"ema": 0.9, "sample_and_save_freq": 1}), tables, tmp_path / "averaged", "10min")
    evaluated, shown = seen[:], averaged.after_epoch
    seen.clear()
    go_on(Plan({"sample_and_save_freq": 1}), tables, tmp_path / "plain", "10min")

    ends = newest(tmp_path / "averaged"), newest(tmp_path / "plain")
    own, without = ({n: t for n, t in end.tensors.items() if n.startswith(("model.", "opt"))} for end in ends)
    assert same(own, without), "what is trained knows nothing of its average"
    assert "average" not in ends[1].tensors
    parameters = dict(new_glow().named_parameters())
    vector = torch.cat([evaluated[-1][name].reshape(-1) for name in parameters])
    assert torch.equal(vector.sort().values, ends[0].tensors["average"].sort().values)
    assert not same(evaluated[-1], seen[-1])
    assert all(same(a, b) for a, b in zip(evaluated, shown, strict=True)), "on_epoch sees what was evaluated"
    best = averaged.history.best_epoch - 1
    assert same(averaged.model.state_dict(), evaluated[best])
    for (weights, _), row in zip(averaged.saved, range(3), strict=True):
        values = [epoch["val_bits_per_dim"] for epoch in averaged.history.epochs[: row + 1]]
        assert same(weights, evaluated[values.index(min(values))])


# Accumulation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [2, 3, 7])
@pytest.mark.parametrize("y_condition", [False, True])
def test_a_batch_in_parts_makes_the_same_step(accumulate: int, y_condition: bool) -> None:
    def after_a_step(parts: int) -> tuple[Tensor, Tensor]:
        model = new_glow(y_condition=True, num_classes=3) if y_condition else new_glow()
        model.initialize(inputs_of(model, n=7).x)
        model.double()
        optimizer = Adamax(model.parameters(), lr=0.01)
        inputs = inputs_of(model, seed=1, n=7)
        step = TrainingStep(model, optimizer, 0.5, 10, accumulate=parts)
        labels = (inputs.labels,) if y_condition else ()
        told = step(inputs.x.double(), inputs.logdet.double(), *labels)
        return told, optimizer._gradient

    told, gradient = after_a_step(1)
    told_in_parts, gradient_in_parts = after_a_step(accumulate)
    assert gradient.dtype == torch.float64
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(told_in_parts, told, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient_in_parts, gradient, rtol=1e-10, atol=1e-10)


def test_a_training_in_parts_is_the_same_within_rounding(tables: Tables) -> None:
    whole = train(tables, n_epochs=2).model.state_dict()
    for accumulate in (2, 3):
        parts = train(tables, n_epochs=2, accumulate=accumulate).model.state_dict()
        assert all(torch.allclose(parts[name], whole[name], atol=1e-4) for name in whole)
