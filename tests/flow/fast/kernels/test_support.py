"""Which levels the kernels compute, and where."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.kernels import support
from glow_pipeline.flow.fast.kernels.kinds import Kernel
from glow_pipeline.flow.fast.kernels.tile import Tile
from glow_pipeline.flow.transform import Shift, ShiftAndScale, Transform
from tests.processes import comes

SHIFT = Shift()


@dataclass(frozen=True)
class OtherShift(Shift):
    """A transform of a user's own."""


@pytest.mark.parametrize(
    ("shape", "transform", "hidden", "expected"),
    [
        ((12, 16, 16), ShiftAndScale(), 128, True),
        ((4, 8, 32), Shift(), 1, True),
        ((3, 8, 32), Shift(), 1, False),
        ((128, 1, 1), ShiftAndScale(0.1), 64, True),
        ((12, 16, 17), ShiftAndScale(), 64, False),  # more than 256 pixels
        ((132, 1, 1), Shift(), 64, False),
        ((12, 16, 16), ShiftAndScale(), 129, False),
        ((12, 16, 16), OtherShift(), 64, False),
    ],
)
def test_kernels_take_levels_that_fit(
    shape: tuple[int, int, int], transform: Transform, hidden: int, expected: bool
) -> None:
    assert support.fits(shape, transform, hidden) is expected


def test_a_tile_has_no_more_warps_than_rows() -> None:
    for pixels in range(1, support.MOST_PIXELS + 1):
        Tile.of(pixels)
    with pytest.raises(ValueError, match="8 warps for 64 rows: should be at most 4"):
        Tile(1, 64, 8)


def steps_of(model: Glow) -> Any:
    return list(model.levels[0].steps)  # type: ignore[arg-type]  # a ModuleList forgets the type


@pytest.mark.parametrize("kernels", [None, False])
def test_a_cpu_uses_kernels_only_on_demand(kernels: bool | None) -> None:
    steps = steps_of(Glow((1, 4, 4), 1, 1, 4))
    assert not support.usable(Execution(kernels=kernels), torch.empty(1, 4, 2, 2), steps)


def test_a_cpu_without_interpreter_uses_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    steps = steps_of(Glow((1, 4, 4), 1, 1, 4))
    assert not support.usable(Execution(kernels=True), torch.empty(1, 4, 2, 2), steps)


@pytest.mark.parametrize(("shape", "hidden"), [((1, 34, 34), 4), ((1, 8, 8), 130)])
def test_too_large_levels_are_computed_otherwise(
    shape: tuple[int, int, int], hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    model = Glow(shape, 1, 1, hidden)
    model.execution = Execution(kernels=True)
    x = torch.rand(1, *shape)
    with torch.no_grad():
        logdet = model.to_top(x).logdet
        model.execution = Execution(kernels=False)
        assert torch.equal(logdet, model.to_top(x).logdet)


# A trial decides ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def new_trials() -> None:
    support._works.cache_clear()


def works(kernel: Kernel, transform: Shift | ShiftAndScale = SHIFT, crowded: bool = False) -> bool:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return support._works(kernel, device, (6, 4, 2), transform, 5, "float32", crowded)


@pytest.mark.parametrize("kernel", ["forward", "inverse", "training"])
@pytest.mark.parametrize("transform", [Shift(), ShiftAndScale(), ShiftAndScale(0.1)], ids=str)
def test_kernels_pass_their_trial(
    kernel: Kernel, transform: Shift | ShiftAndScale, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("triton")
    assert works(kernel, transform)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("error", [RuntimeError("Failed to find C compiler.\nMore."), OSError("read-only")])
def test_a_machine_that_can_not_compile_says_so_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("triton")
    from glow_pipeline.flow.fast.kernels import level

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(level, "run", failing)
    assert not works("forward")
    assert not works("forward")
    message = f"Levels of 6x4x2 are computed without kernels, more slowly: {type(error).__name__}: {error}"
    assert [record.message for record in caplog.records] == [message.splitlines()[0]]


def test_a_wrong_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from glow_pipeline.flow.fast.kernels import level

    monkeypatch.setattr(level, "inverse", lambda _prepared, y: y)
    assert not works("inverse")


def test_a_wrong_gradient_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from glow_pipeline.flow.fast.kernels import training
    from glow_pipeline.flow.fast.kernels.weight_gradients import weight_gradients as right

    monkeypatch.setattr(
        training, "weight_gradients", lambda *arguments: right(*arguments)._replace(bias2=right(*arguments).bias2 * 2)
    )
    assert not works("training")


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda y, logdet: (y, logdet.mul(torch.nan)), id="NaN in the last result"),
        pytest.param(lambda y, logdet: (y, torch.empty_like(logdet).fill_(0) + logdet + 1), id="a wrong result"),
        pytest.param(
            lambda y, logdet: (torch.cat([y[:-1], torch.empty_like(y[-1:])]), logdet), id="memory not written"
        ),
        pytest.param(lambda y, logdet: (y + 1e-6 * torch.rand(1), logdet), id="other bits each time"),
    ],
)
def test_spoilt_results_are_not_used(
    spoilt: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    from glow_pipeline.flow.fast.kernels import level

    run = level.run
    monkeypatch.setattr(level, "run", lambda *arguments: spoilt(*run(*arguments)))
    assert not works("forward")


def test_long_compilation_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("triton")
    from glow_pipeline.flow.fast.kernels import trial

    quick = trial.trial

    def slow(*arguments: Any, **options: Any) -> float:
        assert comes(lambda: caplog.records)
        return quick(*arguments, **options)

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(support, "PATIENCE", 0.01)
    monkeypatch.setattr(trial, "trial", slow)
    assert works("forward")
    assert [record.getMessage() for record in caplog.records] == ["Compiling kernels for levels of 6x4x2 (forward)"]


def test_crowded_trial_loops_over_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from glow_pipeline.flow.fast.kernels import forward, inverse, trial

    for module in (forward, inverse, trial):
        monkeypatch.setattr(module, "MOST_PROGRAMS", 2)
    assert works("forward", crowded=True)
    assert works("inverse", crowded=True)


def test_trial_leaves_the_mode_of_memory_alone() -> None:
    before = torch.get_deterministic_debug_mode()
    works("forward")
    assert torch.get_deterministic_debug_mode() == before


def test_kernels_without_triton_are_not_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "glow_pipeline.flow.fast.kernels.trial", None)
    assert not works("forward")
    assert len(caplog.records) == 1
