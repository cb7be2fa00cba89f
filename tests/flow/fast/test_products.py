"""The product form computes the flow of the plain layers in every mode."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from glow_pipeline.flow.fast.execution import Activations, Execution, Precision
from glow_pipeline.flow.fast.neighbours import (
    column_count,
    columns,
    columns_backward,
    neighbour_sum,
    neighbour_sum_backward,
)
from glow_pipeline.flow.fast.products import GROUP, products_of_rows
from tests.flow.fast.test_fused import assert_same, every_mode, glow, log_prob_and_gradients
from tests.flow.helpers import OPTIONS, gaussian

LU = pytest.param({"LU_decomposed": True, "flow_coupling": "additive"}, id="LU, additive")
SHAPE = (2, 4, 5, 3)  # (B, H, W, c)


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Neighbourhoods -------------------------------------------------------------------------------------------------------


def test_columns_times_weights_are_a_convolution() -> None:
    x, weight = pixels(*SHAPE), pixels(7, 3, 3, 3, seed=1)  # (out, in, 3, 3)
    factors = F.pad(weight.permute(0, 2, 3, 1).flatten(1), (0, column_count(3) - 27))
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close((columns(x, x.dtype) @ factors.t()).view(2, 4, 5, 7), expected)


def test_neighbour_sums_of_products_are_a_convolution() -> None:
    x, weight = pixels(2, 4, 5, 7), pixels(3, 7, 3, 3, seed=1)
    factors = F.pad(weight.permute(2, 3, 0, 1).flatten(0, 2), (0, 0, 0, column_count(3) - 27))
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(neighbour_sum(x.flatten(0, 2) @ factors.t(), SHAPE, x.dtype), expected)


def test_backward_functions_are_those_of_autograd() -> None:
    x, parts = pixels(*SHAPE).requires_grad_(), pixels(40, column_count(3), seed=1).requires_grad_()
    of_columns, of_sum = pixels(40, column_count(3), seed=2), pixels(*SHAPE, seed=3)
    (expected,) = torch.autograd.grad(columns(x, x.dtype), x, of_columns)
    torch.testing.assert_close(columns_backward(of_columns, SHAPE, x.dtype), expected)
    (expected,) = torch.autograd.grad(neighbour_sum(parts, SHAPE, x.dtype), parts, of_sum)
    torch.testing.assert_close(neighbour_sum_backward(of_sum, x.dtype), expected)


@pytest.mark.parametrize("channels", [1, 6, 7, 24])
def test_rows_are_aligned_and_end_with_a_one(channels: int) -> None:
    rows = columns(pixels(1, 2, 2, channels), torch.bfloat16)
    assert rows.shape == (4, column_count(channels))
    assert rows.shape[1] % 8 == 0
    assert (rows[:, 9 * channels :] == 1).all()
    assert rows.shape[1] > 9 * channels


# The flow -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [3, GROUP + 2])
@pytest.mark.parametrize("options", [*OPTIONS, LU])
@every_mode
def test_density_and_gradients_match_the_plain_layers(
    options: dict[str, Any], activations: Activations, K: int
) -> None:
    model, x = glow(K, **options), gaussian(4, 3, 8, 16)
    model.execution = None
    plain = log_prob_and_gradients(model, x)
    model.execution = Execution(activations, products=True)
    assert_same(log_prob_and_gradients(model, x), plain, 1e-9 if K < GROUP else 1e-7)


@every_mode
def test_bfloat16_products_leave_the_state_in_float32(activations: Activations) -> None:
    model, x = glow().float(), gaussian(4, 3, 8, 16).float()
    model.execution = Execution(activations)
    exact, exact_x, exact_gradients = log_prob_and_gradients(model, x)
    model.execution = Execution(activations, "bfloat16", products=True)
    log_prob, grad_x, gradients = log_prob_and_gradients(model, x)
    assert {log_prob.dtype, grad_x.dtype, *(gradient.dtype for gradient in gradients.values())} == {torch.float32}
    assert (model.bits_per_dim(log_prob) - model.bits_per_dim(exact)).abs().max() < 0.05
    assert (grad_x - exact_x).norm() < 0.1 * exact_x.norm()
    assert gradients.keys() == exact_gradients.keys()


def test_kept_activations_are_freed_with_the_graph() -> None:
    """Of reversible steps only one output is kept, however many steps there are."""

    def kept_bytes(K: int, activations: Activations) -> int:
        model, x = glow(K), gaussian(4, 3, 8, 16)
        model.execution = Execution(activations, products=True)
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = model.log_density(model.to_top(x), None)
        del result
        parameters = sum(p.numel() for p in model.parameters()) * 8
        return sum(storages.values()) - parameters

    assert kept_bytes(6, "checkpointed") < 0.8 * kept_bytes(6, "stored")
    assert kept_bytes(6, "reversible") < kept_bytes(6, "checkpointed")


class ProductsSeen(TorchDispatchMode):
    """Keeps the precision of float32 products and the output's last dimension at each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.precisions: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten._addmm_activation):
            self.precisions.append((torch.backends.cuda.matmul.fp32_precision, result.shape[1]))
        return result


@pytest.mark.parametrize(("precision", "expected"), [("float32", "ieee"), ("tf32", "tf32")])
def test_only_networks_products_may_round_to_tf32(precision: Precision, expected: str) -> None:
    model, x = glow(2).float(), gaussian(4, 3, 8, 16).float()
    model.execution = Execution("checkpointed", precision, products=True)
    before = torch.backends.cuda.matmul.fp32_precision
    with ProductsSeen() as seen:
        model.log_density(model.to_top(x)).sum().backward()
    of_mixing = [precision for precision, width in seen.precisions if width in (12, 24)]
    others = [precision for precision, width in seen.precisions if width not in (12, 24)]
    assert of_mixing == [before] * len(of_mixing)
    assert others == [expected] * len(others)
    assert len(of_mixing) >= 8
    assert len(others) >= 36
    assert torch.backends.cuda.matmul.fp32_precision == before


@pytest.mark.parametrize("rows", [96, 4096, 4097])
def test_products_of_rows_are_exact_however_split(rows: int) -> None:
    a, b = pixels(2, rows, 5), pixels(2, rows, 7, seed=1)
    torch.testing.assert_close(products_of_rows(a, b), a.transpose(1, 2) @ b)
