"""The product form computes the flow of the plain layers in every mode."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from glow_pipeline.flow.fast.execution import Activations, Execution, Precision
from glow_pipeline.flow.fast.products.level import GROUP
from tests.flow.fast.test_fused import assert_same, every_mode, glow, log_prob_and_gradients
from tests.flow.helpers import OPTIONS, gaussian, perturbed, small_glow

PERMUTATIONS: dict[str, dict[str, Any]] = {
    "invconv": {},
    "LU": {"LU_decomposed": True},
    "shuffle": {"flow_permutation": "shuffle"},
    "reverse": {"flow_permutation": "reverse"},
}
EVERY_STEP = [
    pytest.param({**permutation, "flow_coupling": coupling}, id=f"{name}, {coupling}")
    for name, permutation in PERMUTATIONS.items()
    for coupling in ("affine", "additive")
]


@pytest.mark.parametrize("K", [3, GROUP + 2])
@pytest.mark.parametrize("options", [*EVERY_STEP, *OPTIONS[1:]])
@every_mode
def test_density_and_gradients_match_the_plain_layers(
    options: dict[str, Any], activations: Activations, K: int
) -> None:
    """With weights moved by .05: moved by .1, ten steps are ill-conditioned, and their inverse amplifies rounding."""
    model, x = perturbed(small_glow((3, 8, 16), K, **options), 0.05), gaussian(4, 3, 8, 16)
    model.execution = None
    plain = log_prob_and_gradients(model, x)
    model.execution = Execution(activations, products=True)
    assert_same(log_prob_and_gradients(model, x), plain, 1e-10)


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
    model, x = glow(4, L=1).float(), gaussian(4, 3, 8, 16).float()  # a split's prior has products as wide as networks
    model.execution = Execution("checkpointed", precision, products=True)
    before = torch.backends.cuda.matmul.fp32_precision
    with ProductsSeen() as seen:
        model.log_density(model.to_top(x)).sum().backward()
    of_mixing = [precision for precision, width in seen.precisions if width == 12]
    others = [precision for precision, width in seen.precisions if width != 12]
    assert of_mixing == [before] * len(of_mixing)
    assert others == [expected] * len(others)
    assert len(of_mixing) >= 8
    assert len(others) >= 36
    assert torch.backends.cuda.matmul.fp32_precision == before
