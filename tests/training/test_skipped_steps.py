"""Steps of a training whose loss or gradient is not finite."""

import math

import pytest

from glow_pipeline.training import step as step_module
from tests.training.helpers import STEPS, Poison, Tables, finite, same, train


@pytest.mark.parametrize("kind", ["both", "loss", "gradient", "infinite"])
def test_step_that_is_not_finite_changes_nothing(tables: Tables, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    poison = Poison({7}, kind)
    monkeypatch.setattr(step_module, "losses", poison)
    run = train(tables)
    assert same(poison.before_step[7], poison.before_step[8])
    assert not same(poison.before_step[6], poison.before_step[7])
    assert not same(poison.before_step[8], poison.before_step[9])
    assert finite(run.model.state_dict())
    assert (run.history.skipped_steps, run.history.steps, run.history.diverged) == (1, 3 * STEPS, False)
    assert all(math.isfinite(value) for metrics, _ in run.epochs for value in metrics.values())


@pytest.mark.parametrize(("max_grad_clip", "max_grad_norm"), [(0.1, 0.0), (0.0, 0.1)])
def test_clipping_does_not_hide_infinite_gradients(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, max_grad_clip: float, max_grad_norm: float
) -> None:
    poison = Poison({7}, "infinite")
    monkeypatch.setattr(step_module, "losses", poison)
    run = train(tables, max_grad_clip=max_grad_clip, max_grad_norm=max_grad_norm)
    assert same(poison.before_step[7], poison.before_step[8])
    assert run.history.skipped_steps == 1


def test_divergence_leaves_the_last_good_weights(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a row counts over the end of an epoch: steps 8 and 9 are in the second epoch, 10 in the third.
    monkeypatch.setattr(step_module, "losses", Poison(set(range(8, 100))))
    run = train(tables, n_epochs=4, max_skipped_steps=3)
    assert run.history.diverged
    assert (run.history.steps, run.history.skipped_steps) == (11, 3)
    assert len(run.history.epochs) == 2
    assert same(run.model.state_dict(), run.after_epoch[run.history.best_epoch - 1])
    assert finite(run.model.state_dict())


def test_training_without_updates_leaves_finite_weights(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    poison = Poison(set(range(100)))
    monkeypatch.setattr(step_module, "losses", poison)
    run = train(tables, max_skipped_steps=3)
    assert run.history.diverged
    assert (run.history.best_epoch, run.history.best_val_bits_per_dim, run.history.steps) == (0, math.inf, 3)
    assert same(run.model.state_dict(), poison.before_step[0])
    assert finite(run.model.state_dict())


def test_skipped_steps_apart_do_not_diverge(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "losses", Poison(set(range(0, 15, 2))))
    run = train(tables, max_skipped_steps=2)
    assert not run.history.diverged
    assert (run.history.skipped_steps, run.history.steps) == (8, 15)


def test_exploded_weights_end_in_the_best_ones(tables: Tables) -> None:
    run = train(tables, n_epochs=8, lr=1e6, warmup=4.0, max_skipped_steps=4)
    assert run.history.diverged
    assert finite(run.model.state_dict())


def test_epoch_without_updates_has_no_bits_per_dim(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "losses", Poison(set(range(STEPS, 2 * STEPS))))
    run = train(tables, max_skipped_steps=STEPS + 1)
    assert not run.history.diverged
    assert math.isnan(run.epochs[1][0]["train_bits_per_dim"])
