"""The folded parameters of a level as factors of matrix products."""

from typing import NamedTuple, Self

from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.flow.fast.folding.folded import Folded
from glow_pipeline.flow.fast.neighbours import aligned, column_count


class Weights(NamedTuple):
    """The folded parameters of a level's steps as factors of products; without the first dimension those of a step."""

    matrix: Tensor  # (K, C, C)
    bias: Tensor  # (K, C)
    weight1: Tensor  # (K, hidden, columns of C1)
    bias1: Tensor  # (K, hidden)
    weight2: Tensor  # (K, hidden, hidden)
    bias2: Tensor  # (K, hidden)
    weight3: Tensor  # (K, columns of out, hidden)
    bias3: Tensor  # (K, out and zeros up to the alignment, which compiled kernels rely on)

    def step(self, k: int) -> Self:
        """Return the parameters of a step."""
        return type(self)(*(tensor[k] for tensor in self))


def factors_of(folded: Folded) -> Weights:
    """Lay out the folded parameters of all steps, each tensor with K as its first dimension, for products."""
    steps, hidden, c1 = folded.weight1.shape[:3]
    out = folded.weight3.shape[1]
    weight1 = folded.weight1.permute(0, 1, 3, 4, 2).reshape(steps, hidden, 9 * c1)
    weight3 = folded.weight3.permute(0, 3, 4, 1, 2).reshape(steps, 9 * out, hidden)
    return Weights(
        folded.matrix,
        folded.bias,
        F.pad(weight1, (0, column_count(c1) - 9 * c1)),
        folded.bias1,
        folded.weight2.flatten(2),
        folded.bias2,
        F.pad(weight3, (0, 0, 0, column_count(out) - 9 * out)),
        F.pad(folded.bias3, (0, aligned(out) - out)),
    )
