"""Compile the kernels of levels for a GPU that need not be there.

Print a line for each: its name, the bytes of shared memory that it takes, and how many of its products are larger than
they should be.

    python -m tests.flow.fast.kernels.compile_kernels CAPABILITY SHARED_MEMORY HIDDEN C,H,W ...

for levels of shape (C, H, W), on a GPU of capability CAPABILITY (90 is 9.0) with so many bytes of shared memory.
"""

import re
import sys
from types import ModuleType
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.kernels import backward, forward, inverse, tile, weight_gradients
from glow_pipeline.flow.fast.kernels.level import EXACT as EXACT_SCORES
from glow_pipeline.flow.fast.kernels.training import EXACT, OF_NETWORK
from glow_pipeline.flow.fast.neighbours import aligned, column_count
from glow_pipeline.flow.transform import ShiftAndScale

STEPS, BATCH = 2, 8
KERNELS: dict[str, ModuleType] = {
    "_forward": forward,
    "_inverse": inverse,
    "_activation_gradients": backward,
    "_weight_gradients": weight_gradients,
}
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}


class Compiled:
    """Stands in for a kernel: a launch compiles it as it would be launched, and does not start it."""

    def __init__(self, kernel: Any, capability: int) -> None:
        self.kernel, self.target = kernel, GPUTarget("cuda", capability, 32)

    def __getitem__(self, grid: tuple[int, ...]) -> "Compiled":
        return self

    def __call__(self, *arguments: Any, **named: Any) -> None:
        options = {name: named.pop(name) for name in ("num_warps", "num_stages", "maxnreg") if name in named}
        values = dict(zip(self.kernel.arg_names, arguments, strict=False), **named)
        signature, constants, attributes = {}, {}, {}
        for i, parameter in enumerate(self.kernel.params):
            value = values[parameter.name]
            if parameter.is_constexpr or value is None:
                signature[parameter.name], constants[(i,)] = "constexpr", value
            elif isinstance(value, Tensor):
                signature[parameter.name], attributes[(i,)] = TYPES[value.dtype], [["tt.divisibility", 16]]
            else:
                signature[parameter.name] = "i32"
        source = ASTSource(fn=self.kernel, signature=signature, constexprs=constants, attrs=attributes)
        compiled = triton.compile(source, target=self.target, options=options)
        larger = larger_products(compiled.asm["ttgir"])
        sys.stdout.write(f"{self.kernel.__name__} {compiled.metadata.shared} {larger}\n")


def larger_products(code: str) -> int:
    """Count Hopper's products with warps, of 16 rows each, for more rows than they have, in Triton's code for a GPU."""
    layout = r"(#mma\d*) = #ttg.nvidia_mma<{versionMajor = 3, .*warpsPerCTA = \[(\d+)"
    rows = {name: 16 * int(warps) for name, warps in re.findall(layout, code)}
    products = re.findall(r"(?:warp_group_dot|tt.dot) .*-> tensor<(\d+)x\d+xf32, (#mma\d*)>", code)
    return sum(rows.get(name, 0) > int(its_rows) for its_rows, name in products)


def launch_all(shape: tuple[int, int, int], hidden: int) -> None:
    """Launch each kernel on tensors without memory, for scores and for training steps of each precision."""
    c, h, w = shape
    c1 = c // 2
    transform = ShiftAndScale()
    out = 2 * (c - c1)

    def empty(*sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(sizes, dtype=dtype, device="meta")

    def weights(dtype: torch.dtype) -> Weights:
        return Weights(
            empty(STEPS, c, c),
            empty(STEPS, c),
            empty(STEPS, hidden, column_count(c1), dtype=dtype),
            empty(STEPS, hidden, dtype=dtype),
            empty(STEPS, hidden, hidden, dtype=dtype),
            empty(STEPS, hidden, dtype=dtype),
            empty(STEPS, column_count(out), hidden, dtype=dtype),
            empty(STEPS, aligned(out), dtype=dtype),
        )

    x = empty(BATCH, h, w, c)
    forward.forward(x, weights(torch.float32), transform, EXACT_SCORES, EXACT_SCORES)
    inverse.inverse(x, weights(torch.float32), empty(STEPS, c, c), transform, EXACT_SCORES)
    for precision, network in OF_NETWORK.items():
        its = weights(torch.bfloat16 if precision == "bfloat16" else torch.float32)
        passed = forward.forward(x, its, transform, network, EXACT, keep=True, keep_hidden=True)
        assert passed.first is not None
        assert passed.second is not None
        kept = backward.Kept(passed.states, passed.scales, passed.first, passed.second)
        gradients = backward.activation_gradients(x, empty(BATCH), kept, its, transform, network, EXACT)
        weight_gradients.weight_gradients(gradients, kept, its, transform, network, EXACT)


def main() -> None:
    capability, tile.SHARED_MEMORY, hidden = (int(argument) for argument in sys.argv[1:4])
    for name, module in KERNELS.items():
        setattr(module, name, Compiled(getattr(module, name), capability))
    for argument in sys.argv[4:]:
        c, h, w = (int(size) for size in argument.split(","))
        launch_all((c, h, w), hidden)


if __name__ == "__main__":
    main()
