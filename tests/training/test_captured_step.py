"""Training steps as CUDA graphs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from glow_pipeline.flow.fast.cuda_graph import GraphRecorder
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.shard import Shard
from glow_pipeline.training import acceleration
from glow_pipeline.training import step as step_module
from glow_pipeline.training.acceleration import accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.captured_step import Captured
from glow_pipeline.training.distributed.process_group import DistributedGroup, SingleProcess
from glow_pipeline.training.step import TrainingStep, losses
from glow_pipeline.training.weight_averaging import Average
from tests.conftest import jittered_glow
from tests.training.helpers import moments, same
from tests.training.several_processes import together
from tests.training.steps import ACTIVATIONS, LOGGER, batch, new_step, shard_of, step_of


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
