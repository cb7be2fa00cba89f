import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters

from glow_pipeline.device import Compile
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast import execution
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.shard import Shard
from glow_pipeline.training.acceleration import Captured, accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.step import TrainingStep, losses
from tests.conftest import jittered_glow
from tests.training.helpers import Tables, inputs_of, moments, same, train

ACTIVATIONS: tuple[Activations, ...] = ("stored", "checkpointed", "reversible")
LOGGER = "glow_pipeline.training.acceleration"


def new_step(model: Glow) -> TrainingStep:
    return TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3)


def batch(model: Glow, seed: int) -> tuple[Tensor, ...]:
    return tuple(tensor.to(next(model.parameters()).device) for tensor in inputs_of(model, seed)[:2])


def refuse() -> NoReturn:
    raise AssertionError("an example was asked for")


@pytest.mark.parametrize("choice", ["auto", False])
def test_auto_leaves_steps_on_a_cpu_alone(choice: Compile) -> None:
    step = new_step(jittered_glow())
    assert accelerated(step, choice, refuse) is step
    assert step.model.execution == Execution()


def test_the_plain_layers_are_not_compiled() -> None:
    step = new_step(jittered_glow())
    step.model.execution = None
    assert accelerated(step, True, refuse) is step


# A compiler that fails ------------------------------------------------------------------------


@pytest.fixture
def own_compilations() -> Iterator[None]:
    """Forget after a test what was compiled in it, or could not be."""
    execution._compiled.cache_clear()
    torch._dynamo.reset()
    yield
    execution._compiled.cache_clear()
    torch._dynamo.reset()


@pytest.fixture
def no_compiler(own_compilations: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> NoReturn:
        raise TorchDynamoException("no C++ compiler found\nand many lines more")

    monkeypatch.setattr(torch, "compile", lambda function, **_: failing)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_missing_compiler_is_one_warning(caplog: pytest.LogCaptureFixture, activations: Activations) -> None:
    plain, model = jittered_glow(), jittered_glow()
    plain.execution = model.execution = chosen = Execution(activations)
    expected = new_step(plain)
    with caplog.at_level(logging.WARNING):
        step = accelerated(new_step(model), True, lambda: batch(model, 9))
        assert same(model.state_dict(), plain.state_dict())
        for seed in range(4):
            assert torch.equal(step(*batch(model, seed)), expected(*batch(plain, seed)))
    assert model.execution == chosen
    assert same(model.state_dict(), plain.state_dict())
    (warning,) = caplog.records
    assert warning.name == LOGGER
    assert warning.getMessage().startswith("train.compile=True: ")
    assert warning.getMessage().endswith("no C++ compiler found")


@pytest.mark.usefixtures("no_compiler")
def test_training_without_a_compiler_is_the_uncompiled_one(tables: Tables) -> None:
    expected, run = train(tables, compile=False), train(tables, compile=True)
    assert (run.history.steps, run.history.skipped_steps) == (expected.history.steps, 0)
    assert same(run.model.state_dict(), expected.model.state_dict())


@pytest.mark.slow
@pytest.mark.usefixtures("own_compilations")
def test_machine_without_a_c_compiler_trains(caplog: pytest.LogCaptureFixture) -> None:
    model = jittered_glow()
    without = {"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}
    with torch._inductor.config.patch(without), caplog.at_level(logging.WARNING):
        step = accelerated(new_step(model), True, lambda: batch(model, 9))
    assert [record.name for record in caplog.records].count(LOGGER) == 1
    assert step(*batch(model, 0)).isfinite()


# A compiler that works ------------------------------------------------------------------------


def loss_and_gradients(model: Glow) -> tuple[float, Tensor]:
    model.zero_grad()
    x, logdet = batch(model, 0)
    loss, _ = losses(model, x, logdet, None, 0.0)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.slow
@pytest.mark.usefixtures("own_compilations")
@pytest.mark.parametrize(
    "options", [{}, {"scale_floor": 0.2}, {"flow_coupling": "additive", "LU_decomposed": True}], ids=str
)
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_compiled_loss_and_gradients_are_the_plain_ones(activations: Activations, options: dict[str, Any]) -> None:
    model = jittered_glow(K=2, **options)
    model.execution = Execution(activations)
    loss, gradients = loss_and_gradients(model)
    before = copy.deepcopy(model.state_dict())
    counters.clear()
    step = new_step(model)
    assert accelerated(step, True, lambda: batch(model, 9)) is step
    assert model.execution == replace(Execution(activations), compiled=True)
    assert counters["stats"]["unique_graphs"] > 0
    assert same(model.state_dict(), before)
    compiled_loss, compiled_gradients = loss_and_gradients(model)
    assert compiled_loss == pytest.approx(loss, rel=1e-5)
    assert (compiled_gradients - gradients).norm() < 1e-5 * gradients.norm()


@pytest.mark.slow
@pytest.mark.usefixtures("own_compilations")
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_regions_are_compiled_once_a_level(activations: Activations) -> None:
    def compiled_regions(K: int) -> int:
        model = jittered_glow(K=K)
        model.execution = Execution(activations, compiled=True)
        torch._dynamo.reset()
        counters.clear()
        step = new_step(model)
        for seed in range(2):
            step(*batch(model, seed))
        return counters["stats"]["unique_graphs"]

    a_level = 2 if activations == "stored" else 3  # forward, backward and between them the forward pass again
    assert compiled_regions(K=1) == 2 * a_level
    assert compiled_regions(K=4) == 2 * a_level


def test_step_of_several_processes_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their communication could not be captured. The GPU is pretended."""
    inner = new_step(jittered_glow())
    monkeypatch.setattr(inner, "rehearse", lambda *_: None)
    monkeypatch.setattr(inner.optimizer, "vector", SimpleNamespace(device=torch.device("cuda")))
    monkeypatch.setattr("glow_pipeline.training.acceleration.Captured", lambda *_: refuse)
    assert accelerated(inner, "auto", tuple) is refuse
    monkeypatch.setattr(inner, "group", SimpleNamespace(shard=Shard(0, 2)))
    assert accelerated(inner, "auto", tuple) is inner


# A graph --------------------------------------------------------------------------------------

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def captured(step: TrainingStep) -> Callable[..., Tensor]:
    return Captured(step, *batch(step.model, 9))


def wholly_accelerated(step: TrainingStep) -> Callable[..., Tensor]:
    return accelerated(step, "auto", lambda: batch(step.model, 9))


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.usefixtures("own_compilations")
@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("how", [captured, wholly_accelerated])
def test_captured_steps_are_the_plain_ones(
    activations: Activations, how: Callable[[TrainingStep], Callable[..., Tensor]]
) -> None:
    plain, model = jittered_glow(K=2).cuda(), jittered_glow(K=2).cuda()
    plain.execution = model.execution = Execution(activations)
    expected, inner = new_step(plain), new_step(model)
    step = how(inner)
    assert isinstance(step, Captured)
    assert same(model.state_dict(), plain.state_dict())
    assert (inner.optimizer.steps.item(), inner.optimizer.first_moment.count_nonzero().item()) == (0, 0)
    for seed in range(8):
        bits_per_dim = step(*batch(model, seed)).item()
        assert bits_per_dim == pytest.approx(expected(*batch(plain, seed)).item(), rel=1e-4)
    assert inner.optimizer.steps == 8
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@on_a_gpu
def test_captured_step_that_overflows_changes_nothing() -> None:
    model = jittered_glow().cuda()
    inner = new_step(model)
    step = captured(inner)
    x, logdet = batch(model, 0)
    assert step(x, logdet).isfinite().item()
    before = moments(inner.optimizer)
    assert step(x * torch.nan, logdet).isnan().item()
    assert same(moments(inner.optimizer), before)
    assert step(x, logdet).isfinite().item()


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.usefixtures("own_compilations")
def test_failed_capture_is_one_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_graph(*_: object) -> NoReturn:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr("glow_pipeline.training.acceleration.Captured", no_graph)
    model = jittered_glow().cuda()
    with caplog.at_level(logging.WARNING):
        step = wholly_accelerated(new_step(model))
    assert [record.name for record in caplog.records].count(LOGGER) == 1
    assert step(*batch(model, 0)).isfinite().item()
