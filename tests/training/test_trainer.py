import copy
import math
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.randomness import generator
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.runs import RunAddress
from glow_pipeline.training import state as state_module
from glow_pipeline.training import step as step_module
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule, TrainingFolder
from glow_pipeline.training.epoch_samples import EpochSamples
from glow_pipeline.training.evaluation import mean_bits_per_dim
from glow_pipeline.training.history import Metrics
from glow_pipeline.training.reporter import MlflowReporter, SeveralReporters
from glow_pipeline.training.step_metrics import StepMetrics
from tests.conftest import jittered_glow
from tests.mlflow_server import StubServer, serving
from tests.training.helpers import BATCH, CPU, N_VAL, STEPS, Poison, Run, Tables, new_glow, new_trainer, same, train

# Learning -------------------------------------------------------------------------------------


def test_bits_per_dim_go_down(tables: Tables) -> None:
    run = train(tables, n_epochs=12)
    first, last = run.history.epochs[0], run.history.epochs[-1]
    assert last["train_bits_per_dim"] < first["train_bits_per_dim"] - 0.2
    assert run.history.best_val_bits_per_dim < first["val_bits_per_dim"] - 0.2
    assert run.history.best_val_bits_per_dim < 4  # 4 bits are what a uniform density of 16 levels needs


def test_bits_depend_on_the_seed_alone(tables: Tables) -> None:
    torch.manual_seed(1)
    first = train(tables)
    torch.manual_seed(2)
    second = train(tables)
    assert same(first.model.state_dict(), second.model.state_dict())
    assert first.history.best_val_bits_per_dim == second.history.best_val_bits_per_dim
    assert not same(first.model.state_dict(), train(tables, seed=1).model.state_dict())


def test_flipping_makes_mirror_images_as_probable(tables: Tables) -> None:
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


def test_reading_ahead_in_another_process_changes_nothing(tables: Tables) -> None:
    expected = train(tables, n_epochs=1).model.state_dict()
    assert same(train(tables, n_epochs=1, num_workers=1).model.state_dict(), expected)


def test_new_model_is_initialized_by_first_batch(tables: Tables) -> None:
    run = train(tables, n_epochs=1, lr=1e-12)
    batch = next(Batches(tables[0], BATCH, CPU).shuffled(generator(0, "shuffle", 1)))
    x, _ = run.model.dequantization.dequantize(batch.images, generator(0, "initialize", 0))
    squeezed = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 1, 4, 5, 2, 3).reshape(BATCH, 4, 4, 4)
    actnorm = run.model.get_submodule("levels.0.steps.0.actnorm")
    y = actnorm(squeezed)[0].detach()
    assert y.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert y.std(dim=(0, 2, 3), correction=0).numpy() == pytest.approx(np.ones(4), abs=1e-3)


def test_trained_model_starts_from_its_weights(tables: Tables) -> None:
    model = jittered_glow()
    before = copy.deepcopy(model.state_dict())
    after = train(tables, model, n_epochs=1, lr=1e-12).model.state_dict()
    assert all(torch.allclose(after[name], before[name], atol=1e-9) for name in before)


def test_conditioning_trains_class_head_and_prior(tables: Tables) -> None:
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


def test_class_head_without_weight_stays(tables: Tables) -> None:
    weights = train(tables, new_glow(y_condition=True, num_classes=3), y_weight=0.0).model.state_dict()
    assert weights["top.class_head.weight"].abs().max() == 0
    assert weights["top.class_gaussian.weight"].abs().max() > 0


def test_weight_decay_draws_weights_to_zero(tables: Tables) -> None:
    def size(decay: float) -> float:
        weights = train(tables, jittered_glow(), n_epochs=10, lr=0.01, decay=decay).after_epoch[-1]
        return weights["levels.0.steps.0.coupling.network.conv1.weight"].square().sum().item()

    assert size(100.0) < 0.5 * size(0.0)


def test_each_step_has_its_own_noise(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    noise: list[Tensor] = []
    original = step_module.losses

    def listening(
        model: Glow, x: Tensor, logdet: Tensor, labels: Tensor | None, y_weight: float
    ) -> tuple[Tensor, Tensor]:
        noise.append(((x + 0.5) * 16).frac())
        return original(model, x, logdet, labels, y_weight)

    monkeypatch.setattr(step_module, "losses", listening)
    train(tables, n_epochs=2, seed=3)
    assert len(noise) == 2 * STEPS
    for number, got in enumerate(noise):
        drawn = torch.rand(got.shape, generator=generator(3, "dequantize", number))
        torch.testing.assert_close(got, drawn, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("num_workers", "epoch_images", "n_epochs"), [(0, 3 * BATCH, 5), (1, BATCH, 15), (0, 80, 1)])
def test_epochs_of_images_take_steps_of_passes(
    tables: Tables, num_workers: int, epoch_images: int, n_epochs: int
) -> None:
    passes = train(tables, n_epochs=3)
    run = train(tables, n_epochs=n_epochs, epoch_images=epoch_images, num_workers=num_workers)
    epoch_steps = epoch_images // BATCH
    assert [step for _, step in run.epochs] == [epoch_steps * (epoch + 1) for epoch in range(n_epochs)]
    common = [epoch for epoch, (_, step) in enumerate(run.epochs) if step % STEPS == 0]
    assert common
    for epoch in common:
        step = run.epochs[epoch][1]
        assert same(run.after_epoch[epoch], passes.after_epoch[step // STEPS - 1])
        assert run.epochs[epoch][0]["val_bits_per_dim"] == passes.epochs[step // STEPS - 1][0]["val_bits_per_dim"]


def test_warmup_and_early_stopping_count_epochs_of_images(tables: Tables) -> None:
    steps = new_trainer(tables, new_glow(), settings={"epoch_images": 2 * BATCH, "n_epochs": 40, "warmup": 3.0}).state
    assert steps.step.optimizer.warmup_steps == 3 * 2
    run = train(tables, n_epochs=9, epoch_images=BATCH, early_stopping=2, validation=iter([5.0, 4.0, 4.5, 4.6, 1.0]))
    assert (len(run.epochs), run.history.steps) == (4, 4)


# Reports --------------------------------------------------------------------------------------


def test_each_epoch_is_reported_once(tables: Tables) -> None:
    run = train(tables, n_epochs=5, sample_and_save_freq=2)
    assert [step for _, step in run.epochs] == [STEPS * epoch for epoch in range(1, 6)]
    assert [epochs for _, epochs in run.saved] == [2, 4, 5]
    assert run.history.steps == 5 * STEPS
    assert [row["epoch"] for row in run.history.epochs] == [1, 2, 3, 4, 5]
    for (metrics, step), row in zip(run.epochs, run.history.epochs, strict=True):
        assert row == {"epoch": row["epoch"], "step": step, **metrics}
        assert metrics["images_per_second"] > 0
        assert metrics["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("warmup", "n_epochs", "steps"),
    [(0.0, 5, 0), (2.0, 100, 2 * STEPS), (10.0, 100, 10 * STEPS), (10.0, 20, 2 * STEPS), (10.0, 1, 0.1 * STEPS)],
)
def test_warmup_is_at_most_a_tenth(tables: Tables, warmup: float, n_epochs: int, steps: float) -> None:
    trainer = new_trainer(tables, new_glow(), settings={"n_epochs": n_epochs, "warmup": warmup})
    assert trainer.optimizer.warmup_steps == pytest.approx(steps)


def test_reported_learning_rate_is_the_next_one(tables: Tables) -> None:
    run = train(tables, n_epochs=20, warmup=2.0)
    assert [metrics["lr"] for metrics, _ in run.epochs] == pytest.approx([0.006] + [0.01] * 19)


def test_train_bits_per_dim_is_mean_over_steps(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    bits_of_steps: list[float] = []
    original = step_module.losses

    def listening(
        model: Glow, x: Tensor, logdet: Tensor, labels: Tensor | None, y_weight: float
    ) -> tuple[Tensor, Tensor]:
        loss, bits = original(model, x, logdet, labels, y_weight)
        bits_of_steps.append(bits.item())
        return loss, bits

    monkeypatch.setattr(step_module, "losses", listening)
    run = train(tables, n_epochs=2)
    means = [np.mean(bits_of_steps[:STEPS]), np.mean(bits_of_steps[STEPS:])]
    assert [metrics["train_bits_per_dim"] for metrics, _ in run.epochs] == pytest.approx(means)


def test_best_weights_are_left(tables: Tables) -> None:
    run = train(tables, n_epochs=5, sample_and_save_freq=2, validation=iter([3.0, math.nan, 1.0, 2.0, 1.0]))
    assert run.history.best_epoch == 3
    assert run.history.best_val_bits_per_dim == 1.0
    assert same(run.model.state_dict(), run.after_epoch[2])
    assert not same(run.after_epoch[2], run.after_epoch[4])
    best_so_far = [run.after_epoch[i] for i in (0, 2, 2)]
    assert all(same(weights, best) for (weights, _), best in zip(run.saved, best_so_far, strict=True))


def test_left_model_has_the_bits_of_history(
    tables: Tables,
) -> None:
    run = train(tables, n_epochs=6, lr=0.1, seed=2)
    assert not run.model.training
    assert mean_bits_per_dim(run.model, Batches(tables[1], N_VAL, CPU), 2) == run.history.best_val_bits_per_dim
    values = [metrics["val_bits_per_dim"] for metrics, _ in run.epochs]
    assert run.history.best_val_bits_per_dim == min(values)
    assert run.history.best_epoch == 1 + values.index(min(values))


# The end --------------------------------------------------------------------------------------


class EndingReporter:
    """Ends the training after its first epoch: by its answer, or by a signal to the process."""

    def __init__(self, signum: int | None) -> None:
        self.signum, self.shown = signum, list[int]()

    def epoch(self, _metrics: Metrics, _step: int) -> bool:
        if self.signum is not None:
            signal.raise_signal(self.signum)
        return self.signum is None

    def samples(self, _flow: Glow, epoch: int) -> None:
        self.shown.append(epoch)


def test_reporter_may_stop_the_training(tables: Tables) -> None:
    reporter = EndingReporter(None)
    history = new_trainer(tables, new_glow(), settings={"n_epochs": 9}, reporter=reporter).fit()
    assert (len(history.epochs), history.steps, reporter.shown) == (1, STEPS, [1])


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Take Ctrl-C as in the foreground: a shell's background job ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_raises_training_stopped_after_a_step(
    tables: Tables, tmp_path: Path, signum: int, exit_code: int
) -> None:
    schedule = CheckpointSchedule(TrainingFolder(tmp_path), Interval.parse("10min"), 3)
    trainer = new_trainer(tables, new_glow(), checkpoints=schedule, reporter=EndingReporter(signum))
    with pytest.raises(TrainingStopped) as stopped:
        trainer.fit()
    assert (stopped.value.steps, stopped.value.exit_code) == (STEPS + 1, exit_code)
    assert schedule.folder.last_step == STEPS + 1


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_finished_epochs_reach_mlflow_before_a_stop(tables: Tables, tmp_path: Path, signum: int) -> None:
    stub = StubServer(tmp_path / "artifacts")

    def train_until_the_signal(run: RunAddress) -> None:
        with MetricLogger(run) as logger:
            mlflow = MlflowReporter(logger, EpochSamples(0, 0.7), given_class=False)
            reporter = SeveralReporters([mlflow, EndingReporter(signum)])
            new_trainer(tables, new_glow(), settings={"sample_and_save_freq": 1}, reporter=reporter).fit()

    with serving(stub) as address, pytest.raises(TrainingStopped):
        train_until_the_signal(RunAddress(address, uuid.uuid4().hex))
    assert stub.steps() == [STEPS]
    pictures = [path.name.partition("+timestamp")[0] for path in stub.artifacts.rglob("*.png")]
    assert pictures == ["samples~by_epoch+step+1"]


# The queue of a GPU ---------------------------------------------------------------------------


class Operations(TorchDispatchMode):
    """Lists what is computed: convolutions, and results that the host reads, for which it would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.found.append("convolution")
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_floating_point():
            self.found.append("read")  # others are not the flow's, such as the seed of a DataLoader
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_evaluation_is_queued_before_the_host_reads(tables: Tables, ema: float) -> None:
    trainer = new_trainer(tables, new_glow(), settings={"sample_and_save_freq": 100, "ema": ema})
    with trainer.progress:
        trainer.start()
        trainer.train_epoch()
        with Operations() as operations:
            trainer.evaluate_epoch()
    found = operations.found
    assert found.count("convolution") > 10
    assert "convolution" not in found[found.index("read") :]
    assert len(trainer.history.epochs) == 1


class LateMetrics(StepMetrics):
    """Metrics of a GPU that lags behind: the host reads only those that it waits for."""

    def read(self, *, force: bool = False) -> int:
        return super().read(force=True) if force else 0


@pytest.mark.parametrize("kind", ["none", "loss"])
def test_late_metrics_train_alike(tables: Tables, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def trained() -> Run:
        with monkeypatch.context() as patch:
            patch.setattr(step_module, "losses", Poison(set() if kind == "none" else set(range(7, 99)), kind))
            return train(tables, max_skipped_steps=2)

    expected = trained()
    monkeypatch.setattr(state_module, "StepMetrics", LateMetrics)
    late = trained()
    assert same(late.model.state_dict(), expected.model.state_dict())
    assert late.history.diverged is expected.history.diverged is (kind == "loss")
    assert (late.history.steps, late.history.skipped_steps) == (expected.history.steps, expected.history.skipped_steps)
    assert [metrics["val_bits_per_dim"] for metrics, _ in late.epochs] == [
        metrics["val_bits_per_dim"] for metrics, _ in expected.epochs
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_host_queues_an_evaluation_without_waiting(tables: Tables) -> None:
    trainer = new_trainer(tables, new_glow().cuda(), device=torch.device("cuda"), settings={"compile": False})
    with trainer.progress:
        trainer.start()
        trainer.train_epoch()
        expected = {**trainer.invertibility.queue()(), "bits": trainer.queued_validation()()}
        torch.cuda.set_sync_debug_mode("error")
        try:
            trainer.metrics.queue_reading()
            trainer.metrics.read()
            figures, validation = trainer.invertibility.queue(), trainer.queued_validation()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert {**figures(), "bits": validation()} == expected
