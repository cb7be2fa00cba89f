"""The kernels access only memory of their own, and with barriers where threads exchange numbers."""

from typing import cast

import pytest
import torch

pytest.importorskip("triton")

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.prepared import prepare
from glow_pipeline.flow.fast.kernels import forward, inverse, level, training
from glow_pipeline.flow.level import Level
from glow_pipeline.flow.step import FlowStep
from tests.flow.fast.kernels.checked_memory import checked
from tests.flow.helpers import gaussian

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="Triton interprets kernels only where there is no GPU"
)


def problems(
    channels: int, size: int, hidden: int, batch: int, K: int, coupling: str = "affine", floor: float = 0.0
) -> set[str]:
    """Compute a level of size / 2 times size / 2 pixels by all kernels; return what a checker finds."""
    model = Glow((channels, size, size), K, 1, hidden, flow_coupling=coupling, scale_floor=floor)
    its_level = cast(Level, model.levels[0])
    x, _ = its_level.squeeze(gaussian(batch, channels, size, size).float())
    with checked() as checker:
        y, logdet = training.run(cast(list[FlowStep], list(its_level.steps)), x.requires_grad_(), Execution())
        (y.sum() + logdet.sum()).backward()
        with torch.no_grad():
            prepared = prepare(cast(list[FlowStep], list(its_level.steps)))
            level.inverse(prepared, level.run(prepared, x.detach())[0])
    assert checker.accesses > 100
    return checker.found


@pytest.mark.parametrize(
    ("channels", "size", "hidden", "batch", "K", "coupling", "floor"),
    [
        pytest.param(1, 8, 16, 9, 3, "affine", 0.0, id="four images a program, and an odd batch"),
        pytest.param(1, 28, 24, 2, 1, "affine", 0.1, id="an image of 196 pixels in 256 rows"),
        pytest.param(1, 14, 24, 3, 2, "additive", 0.0, id="an image of 49 pixels in 64 rows"),
        pytest.param(12, 4, 128, 17, 1, "affine", 0.0, id="many channels"),
        pytest.param(3, 6, 6, 8, 2, "affine", 0.0, id="no size a power of two"),
    ],
)
def test_kernels_access_memory_of_their_own(
    channels: int, size: int, hidden: int, batch: int, K: int, coupling: str, floor: float
) -> None:
    assert not problems(channels, size, hidden, batch, K, coupling, floor)


@pytest.mark.slow
def test_loops_over_tiles_access_their_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (forward, inverse):
        monkeypatch.setattr(module, "MOST_PROGRAMS", 2)
    assert not problems(1, 8, 16, 21, 2)
