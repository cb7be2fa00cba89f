import copy
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glow_pipeline.flow import Glow
from glow_pipeline.flow.coupling import AffineCoupling, CouplingNetwork
from glow_pipeline.flow.fast.cuda_graph import GraphRecorder
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.level import Level
from glow_pipeline.flow.permutation import InvertibleConv, LUInvertibleConv
from glow_pipeline.training.invertibility_alarm import Invertibility, InvertibilityAlarm
from tests.conftest import jittered_glow, random_images
from tests.fake_gpu import CUDA, fake_gpu
from tests.training.helpers import same

FIGURES = {"smallest_scale", "largest_condition_number", "round_trip_error"}


def glow(**arguments: Any) -> Glow:
    return jittered_glow(**{"K": 3, **arguments})


def batch(model: Glow, n: int = 6) -> tuple[Tensor, Tensor]:
    images = random_images(n) >> (8 - model.dequantization.n_bits)
    return images, torch.rand(images.shape, generator=torch.Generator().manual_seed(0))


def figures_of(model: Glow) -> dict[str, float]:
    figures = Invertibility(model, *batch(model)).queue()()
    assert figures.keys() == FIGURES
    assert all(type(figure) is float and not math.isnan(figure) for figure in figures.values())
    return figures


def set_scale_parameters(model: Glow, s: float) -> None:
    """Every affine coupling's s becomes this, whatever its input."""
    for coupling in model.modules():
        if isinstance(coupling, AffineCoupling):
            last = coupling.network.conv3.conv
            assert last.bias is not None
            half = len(last.bias) // 2
            with torch.no_grad():
                last.weight[half:] = 0
                last.bias[half:] = s
                coupling.network.conv3.log_scale.zero_()


def convs_of(model: Glow) -> list[InvertibleConv]:
    return [module for module in model.modules() if isinstance(module, InvertibleConv)]


# The figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"scale_floor": 0.3}, {"LU_decomposed": True}], ids=str)
@pytest.mark.parametrize("execution", [None, Execution()], ids=["plain", "fused"])
def test_smallest_scale_is_of_the_plain_couplings(options: dict[str, Any], execution: Execution | None) -> None:
    model = glow(**options)
    seen: list[np.ndarray[Any, np.dtype[np.float64]]] = []

    def note(network: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        s = output[:, output.shape[1] // 2 :].double().numpy()
        floor = options.get("scale_floor", 0.0)
        seen.append(floor + (1 - floor) / (1 + np.exp(-(s + 2))))

    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, CouplingNetwork)]
    model.execution = None
    with torch.no_grad():
        model(model.dequantization.forward(*batch(model))[0])
    for handle in handles:
        handle.remove()
    model.execution = execution
    assert len(seen) == 6
    assert figures_of(model)["smallest_scale"] == pytest.approx(min(scale.min() for scale in seen), rel=1e-5)
    assert len({scale.min() for scale in seen}) == 6


def test_additive_couplings_scale_by_1() -> None:
    assert figures_of(glow(flow_coupling="additive"))["smallest_scale"] == 1.0


def by_numpy(conv: InvertibleConv) -> float:
    if isinstance(conv, LUInvertibleConv):
        lower, upper, log_s, sign, order = (
            tensor.detach().numpy() for tensor in (conv.lower, conv.upper, conv.log_s, conv.sign_s, conv.row_order)
        )
        assembled = (np.tril(lower, -1) + np.eye(len(log_s))) @ (np.triu(upper, 1) + np.diag(sign * np.exp(log_s)))
        return float(np.linalg.cond(assembled[order]))
    return float(np.linalg.cond(conv.weight.detach().numpy().astype(np.float64)))


@pytest.mark.parametrize("options", [{}, {"LU_decomposed": True}, {"image_shape": (1, 16, 16), "L": 3}], ids=str)
@pytest.mark.parametrize("stretched", [0, -1])
def test_largest_condition_number_is_numpys_at_any_level(options: dict[str, Any], stretched: int) -> None:
    model = glow(**options)
    chosen = convs_of(model)[stretched]
    with torch.no_grad():
        if isinstance(chosen, LUInvertibleConv):
            chosen.log_s[0] += 5
        else:
            chosen.weight[0] *= 100
    expected = [by_numpy(conv) for conv in convs_of(model)]
    images = random_images(3, size=model.image_shape[1:]) >> 4
    found = Invertibility(model, images, torch.zeros(images.shape)).queue()()["largest_condition_number"]
    assert max(expected) == expected[stretched] > 50
    assert found == pytest.approx(max(expected), rel=1e-4)


@pytest.mark.parametrize("permutation", ["shuffle", "reverse"])
def test_fixed_permutations_have_condition_number_1(permutation: str) -> None:
    assert figures_of(glow(flow_permutation=permutation))["largest_condition_number"] == 1.0


@pytest.mark.parametrize("n_bits", [1, 4, 8])
@pytest.mark.parametrize("options", [{}, {"y_condition": True, "num_classes": 3}], ids=str)
def test_round_trip_is_in_grey_levels(options: dict[str, Any], n_bits: int) -> None:
    model = glow(n_bits=n_bits, **options)
    images, noise = batch(model)
    x = (images + noise) / 2**n_bits - 0.5
    y = torch.tensor([0, 1, 2, 0, 1, 2]) if model.y_condition else None
    with torch.no_grad():
        back = model.inverse(model(x, y)[0], y)
    error = figures_of(model)["round_trip_error"]
    assert 0 < error < 0.01
    assert error == pytest.approx(2**n_bits * (back - x).abs().max().item(), rel=0.2)


# Models that are ill --------------------------------------------------------------------------


@pytest.mark.parametrize("execution", [None, Execution("reversible")], ids=["plain", "fused"])
def test_vanishing_scales_are_seen_unless_floored(execution: Execution | None) -> None:
    ill, floored = glow(), glow(scale_floor=0.1)
    for model in (ill, floored):
        set_scale_parameters(model, -30.0)
        model.execution = execution
    assert figures_of(ill)["smallest_scale"] == pytest.approx(1 / (1 + math.exp(28)), rel=1e-4)
    assert figures_of(ill)["round_trip_error"] > 0.5
    assert figures_of(floored)["smallest_scale"] == pytest.approx(0.1, rel=1e-6)
    assert figures_of(floored)["round_trip_error"] < 0.05


@pytest.mark.parametrize("execution", [None, Execution()], ids=["plain", "fused"])
@pytest.mark.parametrize("worth", [0.0, math.nan, math.inf])
def test_singular_or_broken_weight_is_seen(worth: float, execution: Execution | None) -> None:
    model = glow()
    model.execution = execution
    with torch.no_grad():
        convs_of(model)[2].weight[0] = worth
    figures = figures_of(model)
    assert figures["largest_condition_number"] > 1e15
    assert figures["largest_condition_number"] == math.inf or worth == 0
    assert figures["round_trip_error"] == math.inf


def test_scales_that_are_nan_count_as_0() -> None:
    model = glow()
    set_scale_parameters(model, math.nan)
    figures = figures_of(model)
    assert (figures["smallest_scale"], figures["round_trip_error"]) == (0.0, math.inf)


# On a GPU -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"y_condition": True, "num_classes": 3}, {"LU_decomposed": True}], ids=str)
def test_host_does_not_wait_while_it_queues(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    with fake_gpu(monkeypatch) as waits:
        with CUDA:
            model = Glow((1, 16, 16), K=2, L=2, hidden_channels=8, **options)
            images, noise = torch.zeros(4, 1, 16, 16, dtype=torch.uint8), torch.zeros(4, 1, 16, 16)
        waits.seen.clear()  # those of making the flow
        Invertibility(model, images, noise).queue()
        assert waits.seen == []


class Replayed:
    """Stands in for a graph: computes its work again into the same tensors."""

    def __init__(self, work: Callable[[], list[Tensor]]) -> None:
        self.work, self.results = work, [torch.full_like(result, torch.nan) for result in work()]

    def replay(self) -> None:
        for place, new in zip(self.results, self.work(), strict=True):
            place.copy_(new)


class HostRecorder(GraphRecorder):
    """Stands in for a recorder, without a GPU."""

    def __init__(self, error: RuntimeError | None = None) -> None:
        self.error = error

    def warm_up(self, work: Callable[[], object]) -> None:
        work()

    def record(self, work: Callable[[], Any]) -> Any:
        if self.error is not None:
            raise self.error
        graph = Replayed(work)
        return graph, graph.results


def changed(model: Glow, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)


@pytest.mark.parametrize("error", [None, RuntimeError("operation not permitted when stream is capturing")], ids=str)
def test_recorded_measurement_is_of_present_weights(error: RuntimeError | None) -> None:
    model = glow()
    measurement = Invertibility(model, *batch(model))
    measurement.record(HostRecorder(error))
    for by in (0.0, 0.02):
        changed(model, by)
        assert measurement.queue()() == figures_of(model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize(
    "options", [{}, {"y_condition": True, "num_classes": 3}, {"LU_decomposed": True}, {"K": 20}], ids=str
)
def test_measurement_is_recorded_as_a_cuda_graph(options: dict[str, Any]) -> None:
    model = glow(**options).cuda()
    images, noise = (tensor.cuda() for tensor in batch(model))
    measurement = Invertibility(model, images, noise)
    measurement.record(GraphRecorder())
    assert measurement._recorded is not None
    for by in (0.0, 0.02):
        changed(model, by)
        recorded, plain = measurement.queue()(), Invertibility(model, images, noise).queue()()
        assert recorded == pytest.approx(plain, rel=1e-4)


# No side effects ------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("execution", [None, Execution("checkpointed", "bfloat16")], ids=["plain", "fused"])
def test_model_is_not_changed(training: bool, execution: Execution | None) -> None:
    model = glow().train(training)
    model.execution = execution
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    figures_of(model)
    assert same(model.state_dict(), before)
    assert all(module.training is training for module in model.modules())
    assert model.execution is execution
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(level._kept is None for level in model.levels if isinstance(level, Level))
    assert torch.equal(torch.get_rng_state(), random)


# The warning ----------------------------------------------------------------------------------


def warnings_of(alarm: InvertibilityAlarm, errors: list[float], caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO):
        for error in errors:
            alarm.check({"smallest_scale": 7e-13, "largest_condition_number": 123.4, "round_trip_error": error})
    assert all((record.name, record.levelname) == (LOGGER, "WARNING") for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


LOGGER = "glow_pipeline.training.invertibility_alarm"


def test_invertible_flow_raises_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(InvertibilityAlarm(), [0.0, 1e-4, 0.5], caplog) == []


@pytest.mark.parametrize("error", [0.6, math.inf, math.nan])
def test_only_the_first_lost_image_is_reported(caplog: pytest.LogCaptureFixture, error: float) -> None:
    alarm = InvertibilityAlarm()
    (message,) = warnings_of(alarm, [0.01, error, math.inf, 0.01, 3.0], caplog)
    assert warnings_of(alarm, [error], caplog) == []
    assert len(warnings_of(InvertibilityAlarm(), [error], caplog)) == 1
    assert "\n" not in message
    for part in (f"{error:.3g} grey levels", "7e-13", "123", "model.scale_floor", "train.lr"):
        assert part in message


def test_ill_conditioned_model_raises_the_alarm(caplog: pytest.LogCaptureFixture) -> None:
    healthy, ill = glow(), glow()
    set_scale_parameters(ill, -30.0)
    alarm = InvertibilityAlarm()
    with caplog.at_level(logging.WARNING):
        for model in (healthy, ill, ill):
            alarm.check(figures_of(model))
    assert len(caplog.records) == 1
