"""A training step for a GPU has few operations beside the passes through its levels, however many steps a level has."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast import execution
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.products import level as products
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.step import TrainingStep

# A GPU has no kernel for these.
VIEWS = {
    "alias",
    "as_strided",
    "detach",
    "diagonal",
    "expand",
    "permute",
    "select",
    "slice",
    "split",
    "split_with_sizes",
}
VIEWS |= {"squeeze", "t", "transpose", "unbind", "unsqueeze", "view", "_reshape_alias", "_unsafe_view"}
ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}


class Operations(TorchDispatchMode):
    """Counts operations by name, without views and allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        name = func.name().removeprefix("aten::").partition(".")[0]
        if name not in VIEWS | ALLOCATIONS:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


class Region(torch.autograd.Function):
    """A function as one node of autograd's graph, whose operations nobody sees: what torch.compile makes of it."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], results: list[Any], spec: Any, *flat: Any) -> Any:
        with _disable_current_modes():
            ctx.needed = [isinstance(each, Tensor) and each.requires_grad for each in flat]
            ctx.inputs = [
                each.detach().requires_grad_() if needed else each
                for each, needed in zip(flat, ctx.needed, strict=True)
            ]
            with torch.enable_grad():
                args, kwargs = pytree.tree_unflatten(ctx.inputs, spec)
                ctx.outputs, out_spec = pytree.tree_flatten(function(*args, **kwargs))
            results.append(out_spec)
            detached = tuple(each.detach() for each in ctx.outputs)
            pairs = zip(detached, ctx.outputs, strict=True)
            ctx.mark_non_differentiable(*(result for result, each in pairs if not each.requires_grad))
            return detached

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        with _disable_current_modes():
            pairs = [(o, g) for o, g in zip(ctx.outputs, grads, strict=True) if g is not None and o.requires_grad]
            inputs = [each for each, needed in zip(ctx.inputs, ctx.needed, strict=True) if needed]
            found = iter(torch.autograd.grad([o for o, _ in pairs], inputs, [g for _, g in pairs], allow_unused=True))
            return None, None, None, *(next(found) if needed else None for needed in ctx.needed)


def as_region(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        flat, spec = pytree.tree_flatten((args, kwargs))
        if not any(isinstance(each, Tensor) and each.requires_grad for each in flat) or not torch.is_grad_enabled():
            with _disable_current_modes():
                return function(*args, **kwargs)
        results: list[Any] = []
        outputs = Region.apply(function, results, spec, *flat)
        return pytree.tree_unflatten(outputs, results[0])

    return call


def unseen(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        with _disable_current_modes():
            return method(*args)

    return call


@pytest.fixture
def compiled_as_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_compiled", as_region)
    for name in ("forward", "backward"):
        monkeypatch.setattr(products.Steps, name, staticmethod(unseen(getattr(products.Steps, name))))


def operations(K: int, **options: Any) -> Counter[str]:
    model = Glow((3, 32, 32), K, 3, 8, **options).to(memory_format=torch.channels_last)
    x, logdet = torch.rand(2, 3, 32, 32) - 0.5, torch.zeros(2)
    model.initialize(x)
    model.execution = Execution("stored", "bfloat16", compiled=True, products=True)
    optimizer = Adamax(model.parameters(), lr=1e-3)
    optimizer.compiled = True
    step = TrainingStep(model, optimizer, 0.0, 10)
    with Operations() as operations:
        step(x, logdet)
    return operations.seen


@pytest.mark.usefixtures("compiled_as_regions")
@pytest.mark.parametrize("options", [{}, {"LU_decomposed": True}, {"flow_permutation": "shuffle"}], ids=str)
def test_small_operations_do_not_grow_with_k(options: dict[str, Any]) -> None:
    assert operations(2, **options) == operations(8, **options)


@pytest.mark.usefixtures("compiled_as_regions")
def test_step_has_few_small_operations() -> None:
    seen = operations(8)
    assert sum(seen.values()) <= 24, seen
