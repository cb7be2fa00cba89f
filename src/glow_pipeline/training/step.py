"""One step of training, in which the host never waits for the device."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution, float32_convolutions
from glow_pipeline.flow.glow import TopLatent
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess
from glow_pipeline.training.weight_averaging import Average


class TrainingStep:
    """Loss, gradients, and an update of the parameters unless one of those is not finite.

    Args:
        model: the flow to train.
        optimizer: updates the model's parameters.
        y_weight: weight of the class head's cross-entropy, for a class-conditioned model.
        max_skipped_steps: after so many steps in a row without an update there will be no more.
        accumulate: parts in which a batch goes through the model, one after the other; their gradients are summed.
        batch_size: images of a complete batch, of all processes; None: those that this process has.
        average: average of the weights, updated at each step; None: none.
        group: the processes that make this step together, each with its shard of the batch.

    Attributes:
        skipped_in_a_row: how many steps in a row, up to the last, had no update; a scalar.
    """

    def __init__(
        self,
        model: Glow,
        optimizer: Adamax,
        y_weight: float,
        max_skipped_steps: int,
        *,
        accumulate: int = 1,
        batch_size: int | None = None,
        average: Average | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.model, self.optimizer, self.y_weight = model, optimizer, y_weight
        self.max_skipped_steps, self.accumulate, self.batch_size = max_skipped_steps, accumulate, batch_size
        self.average = average or Average(optimizer.vector, 0.0)
        self.group = group or SingleProcess()
        self.skipped_in_a_row = torch.zeros((), dtype=torch.int32, device=optimizer.vector.device)

    def __call__(self, x: Tensor, dequantization_logdet: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return a batch's mean bits per dimension, a scalar on the device; NaN if there was no update.

        Args:
            x: dequantized images (B, C, H, W): this process's shard of the batch.
            dequantization_logdet: (B,).
            labels: (B,), for a class-conditioned model.
        """
        self.compute_gradients(x, dequantization_logdet, labels)
        self.sum_over_processes()
        return self.update()

    def compute_gradients(self, x: Tensor, dequantization_logdet: Tensor, labels: Tensor | None = None) -> None:
        """Gather the gradients of this process's shard, and its parts of loss and bits per dimension beside them."""
        self.optimizer.zero_grad()
        self.optimizer.figures.zero_()
        inputs = (x, dequantization_logdet) if labels is None else (x, dequantization_logdet, labels)
        batch_size = self.batch_size or len(x)
        for part in zip(*(tensor.tensor_split(self.accumulate) for tensor in inputs), strict=True):
            self.optimizer.figures += self._backward(len(part[0]) / batch_size, *part)
            self.optimizer.gather_gradients()

    def sum_over_processes(self) -> None:
        """Sum gradients, loss and bits per dimension over all processes: the only communication of a step."""
        self.group.sum_(self.optimizer.gradient_and_figures)

    @torch.no_grad()
    def update(self) -> Tensor:
        """Update parameters and average; return the batch's mean bits per dimension, NaN if there was no update."""
        self.optimizer.finish_gathering()
        # The function, not the bound method: compiled functions are kept for ever, and would keep this step.
        return Execution(compiled=self.optimizer.compiled).maybe_compiled(TrainingStep._update)(self)

    def _update(self) -> Tensor:
        loss, bits_per_dim = self.optimizer.figures
        may_update = self.skipped_in_a_row < self.max_skipped_steps
        updated = self.optimizer.update(loss.isfinite() & may_update)
        self.average.update(self.optimizer.steps, updated)
        self.skipped_in_a_row.copy_(torch.where(updated, 0, self.skipped_in_a_row + 1))
        return torch.where(updated, bits_per_dim, math.nan)

    def _backward(self, weight: float, x: Tensor, logdet: Tensor, labels: Tensor | None = None) -> Tensor:
        """Add this part's gradients to the parameters'; return its part of loss and bits per dimension (2,)."""
        loss, bits_per_dim = losses(self.model, x, logdet, labels, self.y_weight)
        with float32_convolutions():
            # Without a factor of 1, which a GPU would multiply by; not as `backward`'s own argument, for which torch
            # imports sympy: seconds.
            (loss if weight == 1 else weight * loss).backward()
        return weight * torch.stack([loss.detach(), bits_per_dim])

    def gradients_alone(self, *inputs: Tensor) -> None:
        """Compute the gradients and drop them: nearly all of the work of a step, and no change."""
        self.optimizer.zero_grad()
        self._backward(1.0, *inputs)
        self.optimizer.zero_grad()

    def rehearse(self, *inputs: Tensor) -> None:
        """Take a step that changes nothing, so that everything is made that the first step makes.

        It does not communicate: each process may rehearse when it likes.
        """
        before = self.skipped_in_a_row.clone()
        self.skipped_in_a_row.fill_(self.max_skipped_steps)
        try:
            self.compute_gradients(*inputs)
            self.update()
        finally:
            self.skipped_in_a_row.copy_(before)


def losses(
    model: Glow, x: Tensor, dequantization_logdet: Tensor, labels: Tensor | None, y_weight: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, and its mean bits per dimension without the class term: two scalars."""
    latent, execution = model.to_top(x), model.execution
    of_latent = _losses_of_latent
    if execution is not None and execution.products:
        # Dozens of small operations, which a CPU computes as fast one by one.
        of_latent = execution.maybe_compiled(of_latent)
    return of_latent(model, latent, dequantization_logdet, labels, y_weight)


def _losses_of_latent(
    model: Glow, latent: TopLatent, dequantization_logdet: Tensor, labels: Tensor | None, y_weight: float
) -> tuple[Tensor, Tensor]:
    log_prob = model.log_density(latent, labels) + dequantization_logdet
    bits_per_dim = model.bits_per_dim(log_prob).mean()
    if labels is None:
        return bits_per_dim, bits_per_dim.detach()
    class_loss = F.cross_entropy(model.top.class_logits(latent.z), labels)
    return bits_per_dim + y_weight * class_loss, bits_per_dim.detach()
