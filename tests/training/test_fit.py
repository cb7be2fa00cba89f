import copy
import math
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.loader import Batch, Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.randomness import generator
from glow_pipeline.training import fit as fit_module
from glow_pipeline.training.evaluate import mean_bits_per_dim
from glow_pipeline.training.fit import History, Weights, fit
from tests.conftest import MakeTable, jittered_glow, random_images

CPU = torch.device("cpu")
N_FIT, N_VAL, BATCH = 40, 10, 8
STEPS = N_FIT // BATCH  # an epoch


@pytest.fixture
def tables(make_table: MakeTable) -> tuple[ImageTable, ImageTable]:
    """Images whose brightness rises from left to right: something to learn. Brighter the higher the class."""
    ramp = torch.arange(8) * 16 + 40 * (torch.arange(N_FIT + N_VAL) % 3)[:, None, None, None]
    table = make_table((ramp + random_images(N_FIT + N_VAL) // 16).to(torch.uint8), 4)
    return table.subset(np.arange(N_FIT)), table.subset(np.arange(N_FIT, N_FIT + N_VAL))


def new_glow(**arguments: object) -> Glow:
    given: dict[str, object] = {"image_shape": (1, 8, 8), "K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}
    return Glow(**{**given, **arguments}, generator=generator(0, "weights"))  # type: ignore[arg-type]


@dataclass
class Run:
    """A training and all that it told on its way."""

    model: Glow
    history: History = field(default_factory=History)
    epochs: list[tuple[dict[str, float], int]] = field(default_factory=list)
    after_epoch: list[dict[str, Tensor]] = field(default_factory=list)
    saved: list[tuple[Weights, int]] = field(default_factory=list)


def train(
    tables: tuple[ImageTable, ImageTable],
    model: Glow | None = None,
    seed: int = 0,
    y_weight: float = 0.0,
    **settings: float,
) -> Run:
    run = Run(model or new_glow())

    def on_epoch(metrics: dict[str, float], step: int) -> None:
        run.epochs.append((metrics, step))
        run.after_epoch.append(copy.deepcopy(run.model.state_dict()))

    def on_save(weights: Weights, history: History) -> None:
        run.saved.append((copy.deepcopy(weights), len(history.epochs)))

    run.history = fit(
        run.model,
        Batches(tables[0], BATCH, CPU, drop_last=True),
        Batches(tables[1], N_VAL, CPU),
        TrainParameters.model_validate({"n_epochs": 3, "lr": 0.01, "warmup": 0.0, **settings}),
        seed=seed,
        y_weight=y_weight,
        on_epoch=on_epoch,
        on_save=on_save,
    )
    return run


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def finite(weights: Weights) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


# Learning -------------------------------------------------------------------------------------


def test_bits_per_dim_go_down(tables: tuple[ImageTable, ImageTable]) -> None:
    run = train(tables, n_epochs=12)
    first, last = run.history.epochs[0], run.history.epochs[-1]
    assert last["train_bits_per_dim"] < first["train_bits_per_dim"] - 0.2
    assert run.history.best_val_bits_per_dim < first["val_bits_per_dim"] - 0.2
    assert run.history.best_val_bits_per_dim < 4  # 4 bits are what a uniform density of 16 levels needs


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tables: tuple[ImageTable, ImageTable]) -> None:
    torch.manual_seed(1)
    first = train(tables)
    torch.manual_seed(2)
    second = train(tables)
    assert same(first.model.state_dict(), second.model.state_dict())
    assert first.history.best_val_bits_per_dim == second.history.best_val_bits_per_dim
    assert not same(first.model.state_dict(), train(tables, seed=1).model.state_dict())


def test_flipping_makes_mirror_images_as_probable(tables: tuple[ImageTable, ImageTable]) -> None:
    def gap(flip: bool) -> float:
        """Bits/dim that a mirrored validation image costs more."""
        run = train(tables, n_epochs=12, flip=flip)
        images = tables[1][:][0]
        noise = torch.rand(images.shape, generator=generator(0, "gap"))
        bits = [run.model.bits_per_dim(run.model.log_prob(shown, noise)) for shown in (images, images.flip(-1))]
        return (bits[1] - bits[0]).mean().item()

    assert gap(flip=False) > 0.5
    assert abs(gap(flip=True)) < 0.2
    assert same(train(tables, flip=True).model.state_dict(), train(tables, flip=True).model.state_dict())


def test_reading_ahead_in_another_process_changes_nothing(tables: tuple[ImageTable, ImageTable]) -> None:
    expected = train(tables, n_epochs=1).model.state_dict()
    model = new_glow()
    fit(
        model,
        Batches(tables[0], BATCH, CPU, num_workers=1, drop_last=True),
        Batches(tables[1], N_VAL, CPU),
        TrainParameters(n_epochs=1, lr=0.01, warmup=0.0),
        seed=0,
        on_epoch=lambda metrics, step: None,
        on_save=lambda weights, history: None,
    )
    assert same(model.state_dict(), expected)


def test_a_new_model_is_initialised_from_its_first_batch(tables: tuple[ImageTable, ImageTable]) -> None:
    run = train(tables, n_epochs=1, lr=1e-12)
    batch = next(Batches(tables[0], BATCH, CPU).shuffled(generator(0, "shuffle", 1)))
    x, _ = run.model.dequantization.dequantize(batch.images, generator(0, "initialize", 0))
    squeezed = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 1, 4, 5, 2, 3).reshape(BATCH, 4, 4, 4)
    actnorm = run.model.get_submodule("levels.0.steps.0.actnorm")
    y = actnorm(squeezed)[0].detach()
    assert y.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert y.std(dim=(0, 2, 3), correction=0).numpy() == pytest.approx(np.ones(4), abs=1e-3)


def test_a_trained_model_goes_on_from_its_weights(tables: tuple[ImageTable, ImageTable]) -> None:
    model = jittered_glow()
    before = copy.deepcopy(model.state_dict())
    after = train(tables, model, n_epochs=1, lr=1e-12).model.state_dict()
    assert all(torch.allclose(after[name], before[name], atol=1e-9) for name in before)


def test_conditioning_trains_the_class_head_and_the_class_prior(tables: tuple[ImageTable, ImageTable]) -> None:
    model = new_glow(y_condition=True, num_classes=3)
    run = train(tables, model, n_epochs=10, y_weight=1.0)
    images, labels = tables[1][:]
    with torch.no_grad():
        x, _ = model.dequantization.forward(images, torch.full(images.shape, 0.5))
        guessed = model.top.class_logits(model.to_top(x).z).argmax(dim=1)
    assert (guessed == labels).float().mean() > 0.7  # a third is chance
    batches = Batches(tables[1], N_VAL, CPU)
    labelled = mean_bits_per_dim(model, batches, 0, labelled=True)
    assert run.history.best_val_bits_per_dim == labelled
    assert labelled < mean_bits_per_dim(model, batches, 0)


def test_without_weight_the_class_head_stays_where_it_starts(tables: tuple[ImageTable, ImageTable]) -> None:
    weights = train(tables, new_glow(y_condition=True, num_classes=3), y_weight=0.0).model.state_dict()
    assert weights["top.class_head.weight"].abs().max() == 0
    assert weights["top.class_gaussian.weight"].abs().max() > 0


# The loss -------------------------------------------------------------------------------------


def a_batch() -> Batch:
    return Batch(random_images(6) >> 4, torch.tensor([0, 1, 2, 2, 1, 0]))


def test_the_loss_is_the_mean_of_bits_per_dim() -> None:
    model, batch = jittered_glow(), a_batch()
    loss, bits = fit_module._loss(model, batch, 5.0, 3, 17)
    noise = torch.rand(batch.images.shape, generator=generator(3, "dequantize", 17))
    nats = model.log_prob(batch.images, noise).detach().numpy().astype(np.float64)
    assert loss.item() == pytest.approx(-nats.mean() / (64 * math.log(2)), rel=1e-5)
    assert bits.item() == loss.item()
    assert loss.requires_grad
    assert not bits.requires_grad


def test_the_loss_of_a_conditioned_model_has_the_weighted_cross_entropy() -> None:
    model, batch = jittered_glow(y_condition=True, num_classes=3), a_batch()
    loss, bits = fit_module._loss(model, batch, 0.25, 0, 0)
    noise = torch.rand(batch.images.shape, generator=generator(0, "dequantize", 0))
    with torch.no_grad():
        nats = model.log_prob(batch.images, noise, batch.labels).double().numpy()
        x, _ = model.dequantization.forward(batch.images, noise)
        logits = model.top.class_logits(model.to_top(x).z).double().numpy()
    cross_entropy = np.mean([np.log(np.exp(row).sum()) - row[k] for row, k in zip(logits, batch.labels, strict=True)])
    assert bits.item() == pytest.approx(-nats.mean() / (64 * math.log(2)), rel=1e-5)
    assert loss.item() == pytest.approx(bits.item() + 0.25 * cross_entropy, rel=1e-5)


def test_each_step_has_its_own_noise() -> None:
    model, batch = jittered_glow(), a_batch()
    losses = {fit_module._loss(model, batch, 0.0, 0, step)[0].item() for step in range(4)}
    assert len(losses) == 4


# What is told and kept ------------------------------------------------------------------------


def test_each_epoch_is_told_once_and_saved_as_often_as_asked(tables: tuple[ImageTable, ImageTable]) -> None:
    run = train(tables, n_epochs=5, sample_and_save_freq=2)
    assert [step for _, step in run.epochs] == [STEPS * epoch for epoch in range(1, 6)]
    assert [epochs for _, epochs in run.saved] == [2, 4, 5]
    assert run.history.steps == 5 * STEPS
    assert [row["epoch"] for row in run.history.epochs] == [1, 2, 3, 4, 5]
    for (metrics, step), row in zip(run.epochs, run.history.epochs, strict=True):
        assert row == {"epoch": row["epoch"], "step": step, **metrics}
        assert metrics["images_per_second"] > 0
        assert metrics["lr"] == pytest.approx(0.01)


class EnoughError(Exception):
    """Ends a training of which no more has to be seen."""


@pytest.mark.parametrize(
    ("warmup", "n_epochs", "steps"),
    [(0.0, 5, 0), (2.0, 100, 2 * STEPS), (10.0, 100, 10 * STEPS), (10.0, 20, 2 * STEPS), (10.0, 1, 0.1 * STEPS)],
)
def test_warmup_is_counted_in_epochs_and_is_at_most_a_tenth_of_them(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch, warmup: float, n_epochs: int, steps: float
) -> None:
    asked: list[float] = []

    def listening(optimizer: torch.optim.Optimizer, warmup_steps: float) -> NoReturn:
        asked.append(warmup_steps)
        raise EnoughError

    monkeypatch.setattr(fit_module, "warmup_schedule", listening)
    with pytest.raises(EnoughError):
        train(tables, n_epochs=n_epochs, warmup=warmup)
    assert asked == pytest.approx([steps])


def test_the_learning_rate_told_is_that_of_the_next_step(tables: tuple[ImageTable, ImageTable]) -> None:
    run = train(tables, n_epochs=20, warmup=2.0)
    assert [metrics["lr"] for metrics, _ in run.epochs] == pytest.approx([0.006] + [0.01] * 19)


def test_train_bits_per_dim_is_the_mean_over_the_steps(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    original = fit_module._loss

    def listening(model: Glow, batch: Batch, y_weight: float, seed: int, step: int) -> tuple[Tensor, Tensor]:
        loss, bits = original(model, batch, y_weight, seed, step)
        told.append(bits.item())
        return loss, bits

    monkeypatch.setattr(fit_module, "_loss", listening)
    run = train(tables, n_epochs=2)
    means = [np.mean(told[:STEPS]), np.mean(told[STEPS:])]
    assert [metrics["train_bits_per_dim"] for metrics, _ in run.epochs] == pytest.approx(means)


def test_the_weights_of_the_best_epoch_are_left(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = iter([3.0, math.nan, 1.0, 2.0, 1.0])
    monkeypatch.setattr(fit_module, "mean_bits_per_dim", lambda *_, **__: next(scripted))
    run = train(tables, n_epochs=5, sample_and_save_freq=2)
    assert run.history.best_epoch == 3
    assert run.history.best_val_bits_per_dim == 1.0
    assert same(run.model.state_dict(), run.after_epoch[2])
    assert not same(run.after_epoch[2], run.after_epoch[4])
    best_so_far = [run.after_epoch[i] for i in (0, 2, 2)]
    assert all(same(weights, best) for (weights, _), best in zip(run.saved, best_so_far, strict=True))


def test_the_model_that_is_left_has_the_bits_per_dim_that_history_says(
    tables: tuple[ImageTable, ImageTable],
) -> None:
    run = train(tables, n_epochs=6, lr=0.1, seed=2)
    assert not run.model.training
    assert mean_bits_per_dim(run.model, Batches(tables[1], N_VAL, CPU), 2) == run.history.best_val_bits_per_dim
    values = [metrics["val_bits_per_dim"] for metrics, _ in run.epochs]
    assert run.history.best_val_bits_per_dim == min(values)
    assert run.history.best_epoch == 1 + values.index(min(values))


# Steps that are not finite --------------------------------------------------------------------


@dataclass
class Poison:
    """Stands in for the loss; at some steps the loss, or only its gradient, is not finite."""

    steps: set[int]
    kind: str = "loss"
    before_step: list[dict[str, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.original = fit_module._loss

    def __call__(self, model: Glow, batch: Batch, y_weight: float, seed: int, step: int) -> tuple[Tensor, Tensor]:
        self.before_step.append(copy.deepcopy(model.state_dict()))
        loss, bits = self.original(model, batch, y_weight, seed, step)
        if step in self.steps and self.kind == "loss":
            return loss * math.nan, bits * math.nan
        if step in self.steps:
            worth = {"gradient": math.nan, "infinite": math.inf}[self.kind]
            loss.register_hook(lambda gradient: gradient * worth)
        return loss, bits


@pytest.mark.parametrize("kind", ["loss", "gradient", "infinite"])
def test_a_step_that_is_not_finite_changes_nothing(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    poison = Poison({7}, kind)
    monkeypatch.setattr(fit_module, "_loss", poison)
    run = train(tables)
    assert same(poison.before_step[7], poison.before_step[8])
    assert not same(poison.before_step[6], poison.before_step[7])
    assert not same(poison.before_step[8], poison.before_step[9])
    assert finite(run.model.state_dict())
    assert (run.history.skipped_steps, run.history.steps, run.history.diverged) == (1, 3 * STEPS, False)
    assert all(math.isfinite(value) for metrics, _ in run.epochs for value in metrics.values())


@pytest.mark.parametrize(("max_grad_clip", "max_grad_norm"), [(0.1, 0.0), (0.0, 0.1)])
def test_clipping_does_not_hide_a_gradient_that_is_not_finite(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch, max_grad_clip: float, max_grad_norm: float
) -> None:
    poison = Poison({7}, "infinite")
    monkeypatch.setattr(fit_module, "_loss", poison)
    run = train(tables, max_grad_clip=max_grad_clip, max_grad_norm=max_grad_norm)
    assert same(poison.before_step[7], poison.before_step[8])
    assert run.history.skipped_steps == 1


def test_many_such_steps_in_a_row_end_the_training_with_the_last_good_weights(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a row counts over the end of an epoch: steps 8 and 9 are in the second epoch, 10 in the third.
    monkeypatch.setattr(fit_module, "_loss", Poison(set(range(8, 100))))
    run = train(tables, n_epochs=4, max_skipped_steps=3)
    assert run.history.diverged
    assert (run.history.steps, run.history.skipped_steps) == (11, 3)
    assert len(run.history.epochs) == 2
    assert same(run.model.state_dict(), run.after_epoch[run.history.best_epoch - 1])
    assert finite(run.model.state_dict())


def test_a_training_that_never_takes_a_step_leaves_finite_weights(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Poison(set(range(100)))
    monkeypatch.setattr(fit_module, "_loss", poison)
    run = train(tables, max_skipped_steps=3)
    assert run.history.diverged
    assert (run.history.best_epoch, run.history.best_val_bits_per_dim, run.history.steps) == (0, math.inf, 3)
    assert same(run.model.state_dict(), poison.before_step[0])
    assert finite(run.model.state_dict())


def test_such_steps_that_are_not_in_a_row_do_not_end_the_training(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "_loss", Poison(set(range(0, 15, 2))))
    run = train(tables, max_skipped_steps=2)
    assert not run.history.diverged
    assert (run.history.skipped_steps, run.history.steps) == (8, 15)


def test_weights_that_a_step_made_useless_end_in_the_best_ones(tables: tuple[ImageTable, ImageTable]) -> None:
    run = train(tables, n_epochs=8, lr=1e6, warmup=4.0, max_skipped_steps=4)
    assert run.history.diverged
    assert finite(run.model.state_dict())


def test_an_epoch_without_a_step_has_no_bits_per_dim(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "_loss", Poison(set(range(STEPS, 2 * STEPS))))
    run = train(tables, max_skipped_steps=STEPS + 1)
    assert not run.history.diverged
    assert math.isnan(run.epochs[1][0]["train_bits_per_dim"])


# Clipping -------------------------------------------------------------------------------------


def with_gradients() -> tuple[Glow, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    model = jittered_glow()
    random = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random)
    return model, [parameter.grad.numpy().copy() for parameter in model.parameters() if parameter.grad is not None]


def clip(model: Glow, loss: float = 1.0, **settings: float) -> bool:
    return fit_module._clip_and_check(model, torch.tensor(loss), TrainParameters.model_validate(settings))


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("norm", [0.0, 0.7, 1e6])
def test_gradients_are_clipped_by_value_and_then_by_norm(value: float, norm: float) -> None:
    model, expected = with_gradients()
    if value:
        expected = [np.clip(gradient, -value, value) for gradient in expected]
    if norm:
        total = math.sqrt(sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in expected))
        expected = [gradient * min(1.0, norm / total) for gradient in expected]
    assert clip(model, max_grad_clip=value, max_grad_norm=norm)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert parameter.grad is not None
        assert parameter.grad.numpy() == pytest.approx(gradient, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_found(bad: float) -> None:
    model, _ = with_gradients()
    assert clip(model)
    assert not clip(model, loss=bad)
    last = list(model.parameters())[-1]
    assert last.grad is not None
    last.grad.view(-1)[0] = bad
    assert not clip(model)


def test_parameters_without_a_gradient_are_no_obstacle() -> None:
    model, _ = with_gradients()
    next(model.parameters()).grad = None
    assert clip(model, max_grad_clip=0.1, max_grad_norm=0.1)


def test_weight_decay_draws_weights_to_zero(tables: tuple[ImageTable, ImageTable]) -> None:
    def size(decay: float) -> float:
        weights = train(tables, jittered_glow(), n_epochs=10, lr=0.01, decay=decay).after_epoch[-1]
        return weights["levels.0.steps.0.coupling.network.conv1.weight"].square().sum().item()

    assert size(100.0) < 0.5 * size(0.0)
