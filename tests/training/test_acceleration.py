"""Compilation and capture where they are possible; a training without them where they fail."""

import logging
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from glow_pipeline.device import Compile
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.training import acceleration
from glow_pipeline.training.acceleration import accelerated
from glow_pipeline.training.distributed.process_group import DistributedGroup
from tests.conftest import jittered_glow
from tests.training.helpers import Tables, same, train
from tests.training.several_processes import together
from tests.training.steps import ACTIVATIONS, LOGGER, batch, new_step, refuse, shard_of, step_of


@pytest.mark.parametrize("choice", ["auto", False])
def test_auto_leaves_steps_on_a_cpu_alone(choice: Compile) -> None:
    step = new_step(jittered_glow())
    assert accelerated(step, choice, refuse) is step
    assert step.model.execution == Execution()


def test_the_plain_layers_are_not_compiled() -> None:
    step = new_step(jittered_glow())
    step.model.execution = None
    assert accelerated(step, True, refuse) is step


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

        acceleration.Captured = captured  # type: ignore[attr-defined, assignment]
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
