import copy
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.training import step as step_module
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.history import History
from glow_pipeline.training.step import TrainingStep, losses
from glow_pipeline.training.step_metrics import StepMetrics
from tests.conftest import jittered_glow
from tests.flow.fast.test_execution import ConvolutionsSeen
from tests.training.helpers import CPU, Poison, inputs_of, moments, new_glow, same


def new_step(model: Glow, max_skipped_steps: int = 3, *, clip: dict[str, float] | None = None) -> TrainingStep:
    return TrainingStep(model, Adamax(model.parameters(), lr=0.01, **(clip or {})), 1.0, max_skipped_steps)


# The loss -------------------------------------------------------------------------------------


def test_loss_is_mean_bits_per_dim() -> None:
    model = jittered_glow()
    x, logdet, images, noise, _ = inputs_of(model)
    loss, bits = losses(model, x, logdet, None, 5.0)
    nats = model.log_prob(images, noise).detach().numpy().astype(np.float64)
    assert loss.item() == pytest.approx(-nats.mean() / (64 * math.log(2)), rel=1e-5)
    assert bits.item() == loss.item()
    assert loss.requires_grad
    assert not bits.requires_grad


def test_conditioned_loss_has_the_weighted_cross_entropy() -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    x, logdet, images, noise, labels = inputs_of(model)
    loss, bits = losses(model, x, logdet, labels, 0.25)
    with torch.no_grad():
        nats = model.log_prob(images, noise, labels).double().numpy()
        logits = model.top.class_logits(model.to_top(x).z).double().numpy()
    cross_entropy = np.mean([np.log(np.exp(row).sum()) - row[k] for row, k in zip(logits, labels, strict=True)])
    assert bits.item() == pytest.approx(-nats.mean() / (64 * math.log(2)), rel=1e-5)
    assert loss.item() == pytest.approx(bits.item() + 0.25 * cross_entropy, rel=1e-5)
    assert not bits.requires_grad


# A step ---------------------------------------------------------------------------------------


def test_step_returns_bits_and_follows_the_gradient() -> None:
    model = jittered_glow()
    plain = copy.deepcopy(model)
    step, optimizer = new_step(model), torch.optim.Adamax(plain.parameters(), lr=0.01)
    for seed in range(4):
        x, logdet, *_ = inputs_of(model, seed)
        loss, bits = losses(plain, x, logdet, None, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bits_per_dim = step(x, logdet)
        assert bits_per_dim.item() == pytest.approx(bits.item(), rel=1e-5)
        assert not bits_per_dim.requires_grad
    for trained, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["both", "loss", "gradient", "infinite"])
@pytest.mark.parametrize("clip", [{}, {"max_value": 0.1}, {"max_norm": 0.1}, {"weight_decay": 0.1}], ids=str)
def test_infinite_step_returns_nan_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str, clip: dict[str, float]
) -> None:
    monkeypatch.setattr(step_module, "losses", Poison({1}, kind))
    model = jittered_glow()
    step = new_step(model, clip=clip)
    x, logdet, *_ = inputs_of(model)
    assert step(x, logdet).isfinite()
    before, weights = moments(step.optimizer), copy.deepcopy(model.state_dict())
    assert step(x, logdet).isnan()
    assert same(moments(step.optimizer), before)
    assert same(model.state_dict(), weights)
    assert step(x, logdet).isfinite()
    assert not same(model.state_dict(), weights)
    assert step.optimizer.steps == 2


def poisoned(monkeypatch: pytest.MonkeyPatch, steps: set[int], max_skipped_steps: int) -> Callable[[], bool]:
    """A training step that takes the same batch each time and answers whether there was an update."""
    monkeypatch.setattr(step_module, "losses", Poison(steps))
    model = jittered_glow()
    step = new_step(model, max_skipped_steps)
    x, logdet, *_ = inputs_of(model)

    def updated() -> bool:
        before = moments(step.optimizer)
        finite = bool(step(x, logdet).isfinite())
        assert finite != same(moments(step.optimizer), before)
        return finite

    return updated


def test_no_step_changes_anything_after_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    updated = poisoned(monkeypatch, {1, 2, 4, 6, 7, 8}, max_skipped_steps=3)
    assert [updated() for _ in range(12)] == [True, False, False, True, False, True] + [False] * 6


def test_float32_gradients_are_not_rounded_to_tf32() -> None:
    model = jittered_glow()
    with ConvolutionsSeen() as seen:
        new_step(model)(*inputs_of(model)[:2])
    assert seen.precisions == ["ieee"] * 14  # forward and backward: three a level, and that of the split


class OperationsSeen(TorchDispatchMode):
    """Keeps the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_parts_are_added_for_all_parameters_at_once(accumulate: int) -> None:
    """By autograd each parameter's would be a kernel on a GPU."""
    model = new_glow()
    step = TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3, accumulate=accumulate)
    with OperationsSeen() as seen:
        step(torch.rand(6, 1, 8, 8), torch.zeros(6))
    assert seen.names.count("aten._foreach_add_.List") == accumulate - 1


@pytest.mark.parametrize("accumulate", [1, 2])
def test_step_imports_no_sympy(accumulate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.symbolic_shapes", None)  # its import raises an error
    model = new_glow()
    step = TrainingStep(model, Adamax(model.parameters(), lr=1e-3), 0.0, 10, accumulate=accumulate)
    assert step(torch.rand(6, 1, 8, 8), torch.zeros(6)).isfinite()


# A rehearsal ----------------------------------------------------------------------------------


def test_rehearsal_changes_no_bit() -> None:
    model = jittered_glow()
    step = new_step(model)
    step(*inputs_of(model)[:2])
    before, weights = moments(step.optimizer), copy.deepcopy(model.state_dict())
    step.rehearse(*inputs_of(model, seed=1)[:2])
    assert same(moments(step.optimizer), before)
    assert same(model.state_dict(), weights)


def test_rehearsals_do_not_change_training() -> None:
    rehearsed, plain = jittered_glow(), jittered_glow()
    steps = new_step(rehearsed), new_step(plain)
    weights = copy.deepcopy(plain.state_dict())
    for _ in range(4):  # one more than the steps that may be skipped in a row
        steps[0].rehearse(*inputs_of(plain, seed=9)[:2])
    assert same(rehearsed.state_dict(), weights)
    assert steps[0].optimizer.steps == 0
    assert steps[0].optimizer.first_moment.count_nonzero() == 0
    for seed in range(3):
        results = [step(*inputs_of(plain, seed)[:2]) for step in steps]
        assert torch.equal(*results)
    assert same(moments(steps[0].optimizer), moments(steps[1].optimizer))


def test_rehearsal_is_no_skipped_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "losses", Poison({0, 2}))
    model = jittered_glow()
    step, inputs = new_step(model, max_skipped_steps=2), inputs_of(model)[:2]
    assert step(*inputs).isnan()
    step.rehearse(*inputs)
    assert step(*inputs).isnan()
    step.rehearse(*inputs)
    assert step(*inputs).isnan()  # finite, but after two in a row that were not: a rehearsal does not come between them


def test_failed_rehearsal_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = jittered_glow()
    step, inputs = new_step(model), inputs_of(model)[:2]

    def failing(*_: object) -> tuple[Tensor, Tensor]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(step_module, "losses", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            step.rehearse(*inputs)
    assert step(*inputs).isfinite()


# The host never waits for the device ----------------------------------------------------------

MODELS: list[dict[str, Any]] = [
    {"flow_coupling": coupling, "LU_decomposed": lu} for coupling in ("affine", "additive") for lu in (True, False)
]
MODELS.append({"flow_permutation": "shuffle", "learn_top": True, "y_condition": True, "num_classes": 3})
CLIPPED = {"warmup_steps": 5.0, "weight_decay": 0.1, "max_value": 1.0, "max_norm": 1.0}


def two_fake_steps(options: dict[str, Any], activations: Activations) -> None:
    """Take two steps on tensors without values, which raise an error where one is read."""
    with FakeTensorMode():
        model = Glow((1, 8, 8), K=2, L=2, hidden_channels=4, n_bits=4, **options)
        model.execution = Execution(activations)
        step = new_step(model, clip=CLIPPED)
        metrics = StepMetrics(History(), max_skipped_steps=3, steps_per_epoch=2, device=CPU)
        inputs = [torch.rand(6, 1, 8, 8), torch.rand(6)]
        if model.y_condition:
            inputs.append(torch.zeros(6, dtype=torch.int64))
        for _ in range(2):
            metrics.add(step(*inputs))


@pytest.mark.parametrize("options", MODELS, ids=str)
@pytest.mark.parametrize("activations", ["stored", "checkpointed", "reversible"])
def test_step_reads_no_value(options: dict[str, Any], activations: Activations) -> None:
    two_fake_steps(options, activations)


@pytest.mark.parametrize(
    ("ask", "refusal"),
    [
        pytest.param(Tensor.item, DataDependentOutputException, id="item"),
        pytest.param(bool, DataDependentOutputException, id="bool"),
        pytest.param(Tensor.tolist, RuntimeError, id="tolist"),
    ],
)
def test_step_that_reads_a_value_is_found(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Tensor], object], refusal: type[Exception]
) -> None:
    def asking(*arguments: Any) -> tuple[Tensor, Tensor]:
        loss, bits = losses(*arguments)
        ask(loss.detach())
        return loss, bits

    monkeypatch.setattr(step_module, "losses", asking)
    with pytest.raises(refusal):
        two_fake_steps({}, "stored")


class Factorized(TorchDispatchMode):
    """Keeps the shapes of all batches of matrices that are factorized."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._linalg_slogdet.default, torch.ops.aten.linalg_inv_ex.default):
            self.shapes.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


def test_matrices_of_deep_steps_avoid_magma() -> None:
    """torch 2.11 would hand more than 16 matrices of C > 16 to it, and the host would wait for the device."""
    model = new_glow(image_shape=(3, 8, 8), K=20)
    model.execution = Execution("reversible")
    step = new_step(model)
    with Factorized() as factorized:
        step(torch.rand(2, 3, 8, 8), torch.zeros(2))
    # Determinants, and inverses to go back.
    assert sorted(factorized.shapes) == [*[(10, 24, 24)] * 4, *[(20, 12, 12)] * 2]


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("options", MODELS, ids=str)
@pytest.mark.parametrize("activations", ["stored", "checkpointed", "reversible"])
def test_host_does_not_wait_for_the_gpu(
    options: dict[str, Any], activations: Activations, request: pytest.FixtureRequest
) -> None:
    model = new_glow(**options).cuda()
    model.execution = Execution(activations)
    step = new_step(model, clip=CLIPPED)
    x, logdet, _, _, labels = inputs_of(model)
    inputs = [tensor.cuda() for tensor in ((x, logdet, labels) if model.y_condition else (x, logdet))]
    step(*inputs)  # at the first step libraries may wait for what they set up
    request.getfixturevalue("waiting_is_an_error")
    step(*inputs)
