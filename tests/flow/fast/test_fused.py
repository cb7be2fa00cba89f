"""The fused steps compute the flow of the plain layers in every mode."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.flow import level as level_module
from glow_pipeline.flow.coupling import AffineCoupling
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.flow.fast.folding import prepared as folding
from glow_pipeline.flow.step import FlowStep
from tests.flow.helpers import OPTIONS, assert_close_to_scale, every_model, gaussian, perturbed, small_glow

MODES: tuple[Activations, ...] = ("stored", "checkpointed", "reversible")
every_mode = pytest.mark.parametrize("activations", MODES)
LU = pytest.param({"LU_decomposed": True, "flow_coupling": "additive"}, id="LU, additive")


def glow(K: int = 3, **options: Any) -> Glow:
    """In float64, every weight moved; levels of 4x8 and 2x4 pixels."""
    return perturbed(small_glow((3, 8, 16), K, **options), 0.1)


def classes(model: Glow, n: int) -> Tensor | None:
    return torch.arange(n) % model.num_classes if model.y_condition else None


def log_prob_and_gradients(model: Glow, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """log-densities (B,), the gradient of their weighted sum in x, and in each parameter."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    log_prob = model.log_density(model.to_top(x), classes(model, len(x)))
    (log_prob * torch.linspace(0.5, 2, len(x), dtype=x.dtype)).sum().backward()
    assert x.grad is not None
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return log_prob.detach(), x.grad, gradients


def assert_same(
    fast: tuple[Tensor, Tensor, dict[str, Tensor]], plain: tuple[Tensor, Tensor, dict[str, Tensor]], tolerance: float
) -> None:
    torch.testing.assert_close(fast[0], plain[0], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(fast[1], plain[1], rtol=tolerance, atol=tolerance)
    assert fast[2].keys() == plain[2].keys()
    for name, gradient in plain[2].items():
        torch.testing.assert_close(fast[2][name], gradient, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("options", [*OPTIONS, LU])
@every_mode
def test_density_and_gradients_match_the_plain_layers(options: dict[str, Any], activations: Activations) -> None:
    model, x = glow(**options), gaussian(4, 3, 8, 16)
    model.execution = None
    plain = log_prob_and_gradients(model, x)
    model.execution = Execution(activations)
    assert_same(log_prob_and_gradients(model, x), plain, 1e-9)


@every_model
def test_scores_without_gradients_match_the_plain_layers(options: dict[str, Any]) -> None:
    model, x = glow(**options), gaussian(4, 3, 8, 16)
    with torch.no_grad():
        fast = model.log_density(model.to_top(x), classes(model, 4))
        model.execution = None
        plain = model.log_density(model.to_top(x), classes(model, 4))
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [*OPTIONS, LU])
def test_inverse_matches_the_plain_layers(options: dict[str, Any]) -> None:
    model = glow(**options)
    eps = [gaussian(2, *shape, seed=i) for i, shape in enumerate(model.latent_shapes)]
    with torch.no_grad():
        fast = model.inverse(eps, classes(model, 2))
        model.execution = None
        plain = model.inverse(eps, classes(model, 2))
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)


@every_mode
@pytest.mark.parametrize("s", [-5.0, -30.0, 30.0])
def test_extreme_scales_match_the_plain_layers(activations: Activations, s: float) -> None:
    model, x = glow(scale_floor=0.1), gaussian(4, 3, 8, 16)
    with torch.no_grad():
        for step in (module for module in model.modules() if isinstance(module, FlowStep)):
            assert isinstance(step.coupling, AffineCoupling)
            bias = step.coupling.network.conv3.conv.bias
            assert bias is not None
            bias[len(bias) // 2 :] += s
    model.execution = None
    plain = log_prob_and_gradients(model, x)
    model.execution = Execution(activations)
    assert_same(log_prob_and_gradients(model, x), plain, 1e-9)
    with torch.no_grad():
        assert_close_to_scale(model.inverse(model(x)[0]), x, 1e-9)


@every_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_keeps_its_dtype(activations: Activations, dtype: torch.dtype) -> None:
    model = glow().to(dtype)
    model.execution = Execution(activations)
    log_prob, grad_x, gradients = log_prob_and_gradients(model, gaussian(2, 3, 8, 16).to(dtype))
    assert {log_prob.dtype, grad_x.dtype, *(gradient.dtype for gradient in gradients.values())} == {dtype}


def error_of(model: Glow, x: Tensor, activations: Activations, exact: dict[str, Tensor]) -> float:
    """Relative error of all float32 gradients together."""
    model.execution = Execution(activations)
    _, _, gradients = log_prob_and_gradients(model, x)
    difference = torch.cat([(gradients[name].double() - exact[name]).flatten() for name in exact])
    return (difference.norm() / torch.cat([exact[name].flatten() for name in exact]).norm()).item()


def test_reversible_float32_gradients_round_at_most_twice_stored() -> None:
    model, x = glow(K=8), gaussian(8, 3, 8, 16) / 4
    _, _, exact = log_prob_and_gradients(model, x)
    single = glow(K=8).float()
    stored, reversible = (error_of(single, x.float(), mode, exact) for mode in ("stored", "reversible"))
    assert stored < 1e-5
    assert reversible < 2 * stored + 1e-6


@pytest.fixture
def saved_bytes() -> Iterator[list[int]]:
    """Sizes in bytes of all tensors that autograd keeps for the backward pass, parameters included."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def kept(K: int, activations: Activations | None, size: int, saved: list[int]) -> int:
    """Bytes that a pass over a batch of 9 keeps, less those of a batch of 1 (the parameters, mostly)."""
    model = small_glow((3, size, size), K).float()
    model.execution = None if activations is None else Execution(activations)
    totals = []
    for batch in (1, 9):
        saved.clear()
        model.log_density(model.to_top(torch.zeros(batch, 3, size, size)))
        totals.append(sum(saved))
    return totals[1] - totals[0]


@pytest.mark.parametrize("size", [8, 32])
def test_reversible_activations_do_not_grow_with_the_steps(size: int, saved_bytes: list[int]) -> None:
    assert kept(2, "reversible", size, saved_bytes) == kept(16, "reversible", size, saved_bytes)


def test_each_mode_keeps_less_than_the_previous_one(saved_bytes: list[int]) -> None:
    sizes = [kept(8, mode, 16, saved_bytes) for mode in (None, *MODES)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert sizes[1] < 0.6 * sizes[0]


def test_low_precision_applies_to_coupling_networks_only() -> None:
    model, x = glow(K=4).float(), gaussian(4, 3, 8, 16).float()
    exact, _, _ = log_prob_and_gradients(model, x)
    model.execution = Execution(precision="bfloat16")
    low, _, gradients = log_prob_and_gradients(model, x)
    assert low.dtype == torch.float32
    assert not torch.equal(low, exact)
    torch.testing.assert_close(low, exact, rtol=2e-2, atol=0)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
    with torch.no_grad():  # the state of the flow is float32, so a float32 round trip is exact to float32
        model.execution = Execution()
        eps, _ = model(x)
        torch.testing.assert_close(model.inverse(eps), x, rtol=1e-4, atol=1e-4)


def test_unchanging_model_folds_once_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = glow(), gaussian(2, 3, 8, 16)
    prepared: list[int] = []
    prepare = folding.prepare

    def counted(steps: list[FlowStep]) -> folding.Prepared:
        prepared.append(len(steps))
        return prepare(steps)

    with torch.no_grad():
        expected = model.log_density(model.to_top(x))
        eps, _ = model(x)
    monkeypatch.setattr(level_module, "prepare", counted)
    with model.unchanging(), torch.no_grad():
        with model.unchanging():
            assert torch.equal(model.log_density(model.to_top(x)), expected)
        for _ in range(3):
            assert torch.equal(model.log_density(model.to_top(x)), expected)
            torch.testing.assert_close(model.inverse(eps), x, rtol=1e-9, atol=1e-9)
    assert prepared == [3, 3]  # a level each
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
        assert not torch.equal(model.log_density(model.to_top(x)), expected)


def test_gradients_reach_the_parameters_of_an_unchanging_model() -> None:
    model, x = glow(), gaussian(2, 3, 8, 16)
    with model.unchanging():
        inside = log_prob_and_gradients(model, x)
    assert_same(inside, log_prob_and_gradients(model, x), 1e-12)
