"""The precision of float32 convolutions on a GPU, read where each one is computed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution, Precision, float32_convolutions
from tests.conftest import jittered_glow

CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
SETTINGS: Any = torch.backends.cudnn


class ConvolutionsSeen(TorchDispatchMode):
    """Keeps cuDNN's precision at each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.precisions: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CONVOLUTIONS:
            self.precisions.append(SETTINGS.conv.fp32_precision)
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["tf32", "ieee"])
def default(request: pytest.FixtureRequest) -> Iterator[str]:
    """A precision that the process has, which no pass may change for others."""
    before = SETTINGS.conv.fp32_precision
    SETTINGS.conv.fp32_precision = request.param
    yield request.param
    assert SETTINGS.conv.fp32_precision == request.param
    SETTINGS.conv.fp32_precision = before


IMAGES = torch.arange(128).view(2, 1, 8, 8).to(torch.uint8) % 16
PASSES: dict[str, Callable[[Glow], object]] = {
    "score": lambda model: model.log_prob(IMAGES, torch.zeros(IMAGES.shape)),
    "encode": lambda model: model(IMAGES / 16),
    "decode": lambda model: model.decode(model.draw_latents(2, torch.Generator().manual_seed(0))),
}


@pytest.mark.usefixtures("default")
@pytest.mark.parametrize("execution", [None, Execution(), Execution(precision="tf32")], ids=str)
@pytest.mark.parametrize("computed", PASSES.values(), ids=PASSES)
def test_passes_without_gradients_use_ieee(computed: Callable[[Glow], object], execution: Execution | None) -> None:
    model = jittered_glow()
    model.execution = execution
    with torch.no_grad(), ConvolutionsSeen() as seen:
        computed(model)
    assert seen.precisions == ["ieee"] * len(seen.precisions)
    assert len(seen.precisions) >= 7  # three a level, and that of the split


@pytest.mark.usefixtures("default")
@pytest.mark.parametrize(("precision", "networks"), [("float32", "ieee"), ("tf32", "tf32")])
def test_only_networks_of_a_training_pass_use_tf32(precision: Precision, networks: str) -> None:
    model = jittered_glow()
    model.execution = Execution(precision=precision)
    with ConvolutionsSeen() as seen:
        model.to_top(IMAGES / 16).logdet.sum().backward()
    forward, backward = seen.precisions[:7], seen.precisions[7:]
    assert forward == [networks] * 3 + ["ieee"] + [networks] * 3
    assert backward[:3] == backward[4:] == [networks] * 3


def test_precision_is_restored_for_older_settings() -> None:
    """torch's older names raise an error where the newer ones differ from them."""
    expected: bool = SETTINGS.allow_tf32

    def failing() -> Tensor:
        raise KeyError

    with pytest.raises(KeyError), float32_convolutions():
        failing()
    assert SETTINGS.allow_tf32 is expected


def test_precision_is_restored_after_overlapping_blocks() -> None:
    """As of two runs in threads of one server, of which the first to begin is the first to end."""
    before, first, second = SETTINGS.conv.fp32_precision, ExitStack(), ExitStack()
    first.enter_context(float32_convolutions("ieee"))
    second.enter_context(float32_convolutions("ieee"))
    first.close()
    assert SETTINGS.conv.fp32_precision == "ieee"
    second.close()
    assert SETTINGS.conv.fp32_precision == before


def test_precision_of_an_outer_block_returns() -> None:
    with float32_convolutions("ieee"):
        with float32_convolutions("tf32"):
            assert SETTINGS.conv.fp32_precision == "tf32"
        assert SETTINGS.conv.fp32_precision == "ieee"
