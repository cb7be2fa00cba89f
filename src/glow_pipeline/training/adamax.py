"""Adamax of all parameters as one vector, on the device alone (Kingma and Ba 2015, arXiv:1412.6980, algorithm 2).

A flow has hundreds of small parameters, and an operation on a small tensor costs as much as its call. So the parameters
become views of one vector, and a step is a dozen operations however many there are. Whether a step's gradient is
finite, which step this is and how high the learning rate is stay on the device: the host never waits for them.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from glow_pipeline.flow.fast.execution import Execution

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
N_FIGURES = 2  # loss and bits per dimension


class Adamax:
    """The updates of torch.optim.Adamax, with a linear warmup, and no update by a gradient that is not finite.

    A parameter without a gradient counts as one whose gradient is zero.

        g <- g + weight_decay * theta
        m <- beta1 m + (1 - beta1) g;  u <- max(beta2 u, |g| + eps);  theta <- theta - lr / (1 - beta1^t) m / u

    Args:
        parameters: become views of `vector`, where and of the dtype they are.
        lr: learning rate, reached at step `warmup_steps`.
        warmup_steps: steps over which it rises linearly from 0.
        weight_decay: times the parameters, added to the gradient.
        max_value: clip each gradient value to this; 0: do not.
        max_norm: then clip the gradient's norm to this; 0: do not.

    Attributes:
        vector: all parameters (P,).
        gradient_and_figures: the gathered gradient, and figures that processes sum together with it (P + N_FIGURES,).
        figures: the end of it (N_FIGURES,).
        first_moment, infinity_norm: m and u, (P,).
        steps: number of updates, a scalar.
        gradient_norm: norm of the last gradient before it was clipped, a scalar.
        compiled: let torch.compile write an update as a few kernels.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        warmup_steps: float = 0.0,
        weight_decay: float = 0.0,
        max_value: float = 0.0,
        max_norm: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.warmup_steps, self.weight_decay = lr, warmup_steps, weight_decay
        self.max_value, self.max_norm = max_value, max_norm
        self.compiled = False
        self.vector = torch.cat([_in_memory_order(p.detach()) for p in self.parameters])
        for parameter, view in zip(self.parameters, _views(self.vector, self.parameters), strict=True):
            parameter.data = view
        self.first_moment = torch.zeros_like(self.vector)
        self.infinity_norm = torch.zeros_like(self.vector)
        self.steps = self.vector.new_zeros(())
        self.gradient_norm = self.vector.new_zeros(())
        self.gradient_and_figures = self.vector.new_zeros(len(self.vector) + N_FIGURES)
        self._gradient, self.figures = self.gradient_and_figures.split([len(self.vector), N_FIGURES])
        self._gradient_views = _views(self._gradient, self.parameters)
        self._gathered = False

    def zero_grad(self) -> None:
        """Drop all gradients, gathered ones too."""
        self._gathered = False
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def gather_gradients(self) -> None:
        """Add the parameters' gradients to those gathered since `zero_grad` or the last update, and drop them.

        Gradients of a batch in parts are added up here: autograd would make a kernel for each parameter. Gradients that
        lie one behind the other, as `flow/fast/folding/level_matrix.py` has them, are copied as one.
        """
        given = [k for k, parameter in enumerate(self.parameters) if parameter.grad is not None]
        views, gradients = _joined(
            [self._gradient_views[k] for k in given], [cast(Tensor, self.parameters[k].grad) for k in given]
        )
        if self._gathered:
            if given:
                torch._foreach_add_(views, gradients)
        else:
            if len(given) < len(self.parameters):
                self._gradient.zero_()
            torch._foreach_copy_(views, gradients)
        self._gathered = True
        for parameter in self.parameters:
            parameter.grad = None

    @property
    def learning_rate(self) -> Tensor:
        """Return that of the next step, a scalar."""
        return self.lr * ((self.steps + 1) / max(1.0, self.warmup_steps)).clamp(max=1.0)

    @torch.no_grad()
    def step(self, allowed: Tensor) -> Tensor:
        """Update the parameters by the gathered gradients, if that is allowed and they are finite.

        Args:
            allowed: a boolean scalar on the parameters' device.

        Returns:
            Whether they were updated, a boolean scalar on the same device.
        """
        self.finish_gathering()
        return Execution(compiled=self.compiled).maybe_compiled(Adamax.update)(self, allowed)

    def finish_gathering(self) -> None:
        """Gather the gradients, unless that has been done since the last update; the next `update` takes them."""
        if not self._gathered:
            self.gather_gradients()
        self._gathered = False

    def update(self, allowed: Tensor) -> Tensor:
        """Do as `step`, with gradients whose gathering is finished, as plain operations."""
        gradient = self._gradient
        norm = gradient.norm()
        self.gradient_norm.copy_(norm)
        good = allowed & norm.isfinite()
        if self.max_value > 0:
            gradient.clamp_(-self.max_value, self.max_value)
            norm = gradient.norm()
        if self.max_norm > 0:
            gradient.mul_((self.max_norm / (norm + 1e-6)).clamp(max=1.0))
        if self.weight_decay > 0:
            gradient.add_(self.vector, alpha=self.weight_decay)
        # In place throughout, and a skipped step is an update by zero: no new tensor of this size is made.
        gradient.masked_fill_(~good, 0.0)
        self.first_moment.lerp_(gradient, (1 - BETA1) * good.to(self.steps))
        self.infinity_norm.mul_(torch.where(good, BETA2, torch.ones_like(self.steps)))
        torch.maximum(self.infinity_norm, gradient.abs_().add_(EPS), out=self.infinity_norm)
        rate = good * self.learning_rate / (1 - BETA1 ** (self.steps + 1))
        self.vector.sub_(torch.div(self.first_moment, self.infinity_norm, out=gradient).mul_(rate))
        self.steps.add_(good)
        return good


def _in_memory_order(tensor: Tensor) -> Tensor:
    """Return all values in the order of memory, whether the tensor is contiguous or has its channels last."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _views(vector: Tensor, like: list[nn.Parameter]) -> list[Tensor]:
    """Return a vector as tensors with the shapes and strides of these."""
    pieces = vector.split([each.numel() for each in like])
    return [
        piece.as_strided(each.shape, each.stride(), piece.storage_offset())
        for piece, each in zip(pieces, like, strict=True)
    ]


def _joined(views: list[Tensor], gradients: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Join neighbours that are adjacent in the vector and whose gradients are adjacent in memory as well."""
    starts = [k for k in range(len(views)) if not _continues(views, gradients, k)]
    if len(starts) == len(views):
        return views, gradients
    runs = list(zip(starts, [*starts[1:], len(views)], strict=True))
    return [_as_one(views[start:end]) for start, end in runs], [_as_one(gradients[start:end]) for start, end in runs]


def _continues(views: list[Tensor], gradients: list[Tensor], k: int) -> bool:
    """Return whether tensors k begin where tensors k - 1 end, and all four have the same order in memory."""
    if k == 0 or gradients[k].storage_offset() == 0:  # nearly always, unless the gradients are parts of one tensor
        return False
    pairs = [(each[k - 1], each[k]) for each in (views, gradients)]
    return all(
        a.storage_offset() + a.numel() == b.storage_offset()
        and a.untyped_storage()._cdata == b.untyped_storage()._cdata
        for a, b in pairs
    ) and all(views[each].stride() == gradients[each].stride() for each in (k - 1, k))


def _as_one(tensors: list[Tensor]) -> Tensor:
    """Return adjacent tensors as a vector; a single one as it is."""
    return tensors[0] if len(tensors) == 1 else tensors[0].as_strided((sum(each.numel() for each in tensors),), (1,))
