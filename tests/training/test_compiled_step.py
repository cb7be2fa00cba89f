"""Compiled training steps."""

import copy
import logging
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.training import acceleration
from glow_pipeline.training.acceleration import accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.step import TrainingStep, losses
from glow_pipeline.training.weight_averaging import Average
from tests.conftest import jittered_glow
from tests.training.helpers import same
from tests.training.steps import ACTIVATIONS, batch, new_step


@pytest.mark.usefixtures("own_compilations")
def test_compiled_code_does_not_depend_on_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: dict[str, Any] = {}
    monkeypatch.setattr(torch, "compile", lambda function, **given: chosen.update(given) or function)
    Execution(compiled=True).maybe_compiled(losses)
    assert chosen["options"] == {"deterministic": True}
    assert "deterministic" in torch._inductor.list_options()


@pytest.mark.usefixtures("own_compilations")
@pytest.mark.parametrize(("L", "accumulate"), [(2, 1), (5, 2)])
def test_every_level_is_compiled_for_unequal_parts(
    monkeypatch: pytest.MonkeyPatch, L: int, accumulate: int, caplog: pytest.LogCaptureFixture
) -> None:
    """torch's default is to give up after 8 recompilations of a function. Its graphs are taken, without their code."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: compile_(function, dynamic=False, backend="eager"))
    model = jittered_glow(image_shape=(1, 32, 32), L=L)
    step = TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3, accumulate=accumulate)
    inputs = torch.rand(3, 1, 32, 32), torch.zeros(3)
    counters.clear()
    accelerated(step, True, lambda: inputs)
    step(*inputs)
    assert model.execution is not None
    assert model.execution.compiled
    assert counters["stats"]["unique_graphs"] == 2 * accumulate * L
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_advice_to_use_tf32_is_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    """torch gives it on a GPU. The precision is a parameter (train.precision)."""
    step = new_step(jittered_glow())
    with acceleration._compiling(step):
        warnings.warn("TensorFloat32 tensor cores for float32 matrix multiplication available but not", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["something else"]


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
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flow_coupling": "additive", "LU_decomposed": True, "learn_top": True},
        {"flow_permutation": "shuffle", "y_condition": True, "num_classes": 3},
    ],
    ids=str,
)
def test_compiled_products_make_the_plain_step(options: dict[str, Any]) -> None:
    def after_a_step(execution: Execution) -> tuple[TrainingStep, Tensor]:
        model = jittered_glow(K=2, **options)
        model.execution = execution
        optimizer = Adamax(model.parameters(), lr=0.01, max_norm=1.0)
        optimizer.compiled = execution.compiled
        step = TrainingStep(model, optimizer, 0.0, 3, average=Average(optimizer.vector, 0.999))
        labels = [torch.arange(6) % 3] if model.y_condition else []
        with acceleration._compiling(step):
            return step, step(*batch(model, 0), *labels)

    plain, bits = after_a_step(Execution())
    compiled, compiled_bits = after_a_step(Execution(compiled=True, products=True))
    torch.testing.assert_close(compiled_bits, bits, rtol=1e-5, atol=1e-5)
    moments = plain.optimizer.first_moment, compiled.optimizer.first_moment
    assert (moments[1] - moments[0]).norm() < 1e-5 * moments[0].norm()
    assert compiled.optimizer.steps == 1
    start = Adamax(jittered_glow(K=2, **options).parameters(), lr=0.01).vector
    expected = start.lerp(compiled.optimizer.vector, 1 - 2 / 11)
    torch.testing.assert_close(compiled.average.value, expected, rtol=1e-5, atol=1e-6)


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
