import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters

from glow_pipeline.device import Compile
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast import execution
from glow_pipeline.flow.fast.cuda_graph import GraphRecorder
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.shard import Shard
from glow_pipeline.training import acceleration
from glow_pipeline.training import step as step_module
from glow_pipeline.training.acceleration import Captured, accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.distributed.process_group import DistributedGroup, ProcessGroup, SingleProcess
from glow_pipeline.training.step import TrainingStep, losses
from glow_pipeline.training.weight_averaging import Average
from tests.conftest import jittered_glow
from tests.training.helpers import Tables, inputs_of, moments, same, train
from tests.training.several_processes import together

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
    """Forget after a test the compilations of it, and those that failed."""
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


# Options of the compiler ----------------------------------------------------------------------


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


# Several processes ----------------------------------------------------------------------------


class ComputedAgain:
    """Stands in for a graph: computes its work at each replay."""

    def __init__(self, work: Callable[[], object], result: Tensor) -> None:
        self.work, self.result = work, result

    def replay(self) -> None:
        new = self.work()
        if isinstance(new, Tensor):
            self.result.copy_(new)


class HostRecorder(GraphRecorder):
    """Stands in for a recorder, without a GPU."""

    def __init__(self) -> None:
        self.recorded = 0

    def warm_up(self, work: Callable[[], object]) -> None:
        work()

    def record(self, work: Callable[[], Any]) -> Any:
        self.recorded += 1
        result = torch.zeros(())
        return ComputedAgain(work, result), result


def step_of(group: ProcessGroup) -> TrainingStep:
    model = jittered_glow(K=2)
    return TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3, accumulate=2, batch_size=6, group=group)


def shard_of(group: ProcessGroup, step: TrainingStep, seed: int) -> tuple[Tensor, ...]:
    return tuple(tensor[group.shard.rows(6)] for tensor in batch(step.model, seed))


def test_graphs_of_several_processes_communicate_in_between() -> None:
    def work(group: DistributedGroup) -> tuple[bool, int, list[list[int]]]:
        plain, inner = step_of(group), step_of(group)
        recorder = HostRecorder()
        step = Captured(inner, *shard_of(group, inner, 9), recorder=recorder)
        equal, all_reduce, sizes = True, dist.all_reduce, list[list[int]]()

        def watched(tensor: Tensor) -> None:
            sizes[-1].append(len(tensor))
            all_reduce(tensor)

        for seed in range(3):
            inputs = shard_of(group, inner, seed)
            expected = plain(*inputs)
            sizes.append([])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(dist, "all_reduce", watched)
                equal &= torch.equal(step(*inputs), expected)
        return equal and same(moments(inner.optimizer), moments(plain.optimizer)), recorder.recorded, sizes

    n_parameters = sum(parameter.numel() for parameter in jittered_glow(K=2).parameters())
    for equal, recorded, sizes in together(2, work):
        assert equal
        assert recorded == 2
        assert sizes == [[n_parameters + 2]] * 3  # one sum a step: the gradient, loss and bits per dimension


def test_single_process_is_one_graph() -> None:
    plain, inner, recorder = step_of(SingleProcess()), step_of(SingleProcess()), HostRecorder()
    step = Captured(inner, *batch(inner.model, 9), recorder=recorder)
    for seed in range(3):
        assert torch.equal(step(*batch(inner.model, seed)), plain(*batch(inner.model, seed)))
    assert recorder.recorded == 1


@pytest.mark.parametrize("failing", [0, 1])
def test_compilation_failing_in_one_process_is_left_out(failing: int) -> None:
    """Nobody waits for ever, and the leader has compiled before the others start."""

    def work(group: DistributedGroup) -> tuple[bool, list[str], list[float]]:
        times, messages = list[float](), list[str]()
        acceleration.logger.warning = lambda text, *values: messages.append(text % values)  # type: ignore[method-assign]
        step = step_of(group)
        rehearse = step.rehearse

        def watched(*inputs: Tensor) -> None:
            times.append(time.monotonic())
            rehearse(*inputs)
            time.sleep(0.2)
            times.append(time.monotonic())
            if group.shard.rank == failing:
                raise TorchDynamoException("no compiler here")

        torch.compile = lambda function, **_: function  # type: ignore[assignment]
        step.rehearse = watched  # type: ignore[method-assign]
        assert accelerated(step, True, lambda: shard_of(group, step, 9)) is step
        assert step(*shard_of(group, step, 0)).isfinite()
        return step.model.execution == Execution(), messages, times

    left_out, messages, times = zip(*together(2, work), strict=True)
    assert left_out == (True, True)
    prefix = "train.compile=True: not compiled, training continues without: "
    reasons = ["another process failed"] * 2
    reasons[failing] = "no compiler here"
    assert messages == tuple([prefix + reason] for reason in reasons)
    if failing == 0:
        assert times[1] == []
    else:
        assert times[0][1] <= times[1][0]


def test_capture_failing_in_one_process_is_left_out() -> None:
    def work(group: DistributedGroup) -> tuple[bool, list[str]]:
        messages = list[str]()
        acceleration.logger.warning = lambda text, *values: messages.append(text % values)  # type: ignore[method-assign]

        def captured(*_: object) -> Callable[..., Tensor]:
            if group.shard.rank == 1:
                raise RuntimeError("operation not permitted when stream is capturing\nand more")
            return refuse

        acceleration.Captured = captured  # type: ignore[assignment, misc]
        step = step_of(group)
        result = acceleration._captured(step, "auto", shard_of(group, step, 9))
        return result is step and bool(step(*shard_of(group, step, 0)).isfinite()), messages

    plain, messages = zip(*together(2, work), strict=True)
    assert plain == (True, True)
    prefix = "train.compile=auto: no CUDA graph, training continues without: "
    assert messages == (
        [prefix + "another process failed"],
        [prefix + "operation not permitted when stream is capturing"],
    )


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


@dataclass(frozen=True)
class Case:
    """A step on 6 random images, with options of flow, execution and step."""

    flow: dict[str, Any]
    execution: Execution = field(default_factory=Execution)
    step: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, float] = field(default_factory=dict)

    def new(self) -> TrainingStep:
        model = jittered_glow(**{"image_shape": (3, 8, 8), **self.flow}).cuda().to(memory_format=torch.channels_last)
        model.execution = self.execution
        optimizer = Adamax(model.parameters(), lr=1e-3, **self.optimizer)
        given = dict(self.step)
        average = Average(optimizer.vector, given.pop("ema", 0.0))
        return TrainingStep(model, optimizer, 0.1, 3, average=average, **given)

    def inputs(self, seed: int, step: TrainingStep) -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(seed)
        x = (torch.rand(6, *step.model.image_shape, generator=random) - 0.5).cuda()
        labels = (torch.arange(6, device="cuda") % 3,) if step.model.y_condition else ()
        return x, torch.zeros(6, device="cuda"), *labels


class TwoAlike:
    """A group of two processes with equal shards, without the other process."""

    shard, leads = Shard(0, 2), True
    any, gather, from_leader = SingleProcess.any, SingleProcess.gather, SingleProcess.from_leader

    def sum_(self, tensor: Tensor) -> None:
        tensor.mul_(2)


CLASSES = {"y_condition": True, "learn_top": True, "num_classes": 3}
CASES = {
    "K=1": Case({"K": 1}),
    "K=20": Case({"K": 20}),
    "K=32 reversible": Case({"K": 32}, Execution("reversible")),
    "192 channels": Case({"image_shape": (3, 32, 32), "K": 2, "L": 5}, Execution("reversible")),
    "bfloat16": Case({"K": 20}, Execution(precision="bfloat16")),
    "unequal parts": Case({"K": 2}, step={"accumulate": 4}),
    "averaged and clipped": Case({"K": 2}, step={"ema": 0.9}, optimizer={"max_norm": 1.0, "max_value": 0.1}),
    "classes": Case({"K": 2, **CLASSES}, Execution("checkpointed")),
    "LU, one channel": Case({"image_shape": (1, 8, 8), "K": 2, "LU_decomposed": True, "flow_coupling": "additive"}),
    "shuffled": Case({"K": 2, "flow_permutation": "shuffle"}),
    "two processes": Case({"K": 2}, step={"group": TwoAlike(), "batch_size": 12, "accumulate": 2}),
}


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kind_of_step_is_captured(case: Case) -> None:
    plain, inner = case.new(), case.new()
    step = Captured(inner, *case.inputs(9, inner))
    for seed in range(4):
        inputs = case.inputs(seed, inner)
        assert step(*inputs).item() == pytest.approx(plain(*inputs).item(), rel=1e-4)
    assert inner.optimizer.steps == 4
    assert inner.optimizer.gradient_norm.item() == pytest.approx(plain.optimizer.gradient_norm.item(), rel=1e-2)
    torch.testing.assert_close(inner.optimizer.vector, plain.optimizer.vector, rtol=1e-3, atol=1e-3)
    if inner.average.value is not None and plain.average.value is not None:
        torch.testing.assert_close(inner.average.value, plain.average.value, rtol=1e-3, atol=1e-3)


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
def test_step_that_waits_is_one_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real failure of a capture, and 100 steps after it."""

    def waiting(*arguments: Any) -> tuple[Tensor, Tensor]:
        loss, bits_per_dim = losses(*arguments)
        loss.detach().item()
        return loss, bits_per_dim

    stream = torch.cuda.current_stream()
    model = jittered_glow().cuda()
    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        patch.setattr(step_module, "losses", waiting)
        inner = new_step(model)
        step = acceleration._captured(inner, "auto", batch(model, 9))
    assert step is inner
    (warning,) = (record.getMessage() for record in caplog.records if record.name == LOGGER)
    assert warning.startswith("train.compile=auto: no CUDA graph, training continues without: ")
    assert torch.cuda.current_stream() == stream
    reserved = []
    for seed in range(100):
        assert step(*batch(model, seed)).isfinite().item()
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] == reserved[9]
    assert captured(new_step(jittered_glow().cuda()))(*batch(model, 0)).isfinite().item()
