"""The state of a training between two steps: to a checkpoint, and from one."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.distributed.process_group import ProcessGroup
from glow_pipeline.training.history import History
from glow_pipeline.training.records import CheckpointRecord
from glow_pipeline.training.step import TrainingStep
from glow_pipeline.training.step_metrics import StepMetrics
from glow_pipeline.training.weight_averaging import Average

Weights = Mapping[str, Tensor]


@dataclass
class TrainingState:
    """Everything that changes from step to step. Random draws are not part of it: they depend on seed and step alone.

    Attributes:
        step: holds the model, its optimizer and the average of its weights.
        best_weights: a state dict, of the best epoch; averaged ones where weights are averaged.
    """

    step: TrainingStep
    history: History
    metrics: StepMetrics
    best_weights: Weights

    @property
    def model(self) -> Glow:
        return self.step.model

    def checkpoint(self, record: CheckpointRecord) -> Checkpoint:
        """Return a view of the state, valid until the next step.

        Args:
            record: record of the training; history and warmup are replaced by those of the state.
        """
        optimizer, average = self.step.optimizer, self.step.average.value
        # The parameters are stored as one vector: copying them name by name would take many times as long.
        tensors = {
            "optimizer.vector": optimizer.vector,
            "optimizer.first_moment": optimizer.first_moment,
            "optimizer.infinity_norm": optimizer.infinity_norm,
            "optimizer.steps": optimizer.steps,
            "skipped_in_a_row": self.step.skipped_in_a_row,
            "step_metrics": self.metrics.values,
            **({} if average is None else {"average": average}),
            **{f"buffer.{name}": tensor for name, tensor in self.model.named_buffers()},
            **{f"best.{name}": tensor for name, tensor in self.best_weights.items()},
        }
        changed = {"history": self.history, "warmup_steps": optimizer.warmup_steps}
        return Checkpoint(tensors, record.model_copy(update=changed))

    @torch.no_grad()
    def copied_weights(self) -> Weights:
        """Return a copy of the model's weights as they are now: of all parameters at once, which are one vector."""
        vector = self.step.optimizer.vector
        copy_of_vector, memory = vector.clone(), vector.untyped_storage().data_ptr()
        return {
            name: copy_of_vector.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            if tensor.untyped_storage().data_ptr() == memory
            else tensor.clone()
            for name, tensor in self.model.state_dict().items()
        }

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over the state of a checkpoint. Its tensors are copied, and may be on another device."""
        optimizer, average, tensors = self.step.optimizer, self.step.average.value, checkpoint.tensors
        optimizer.vector.copy_(tensors["optimizer.vector"])
        for name, buffer in self.model.named_buffers():
            buffer.copy_(tensors[f"buffer.{name}"])
        optimizer.first_moment.copy_(tensors["optimizer.first_moment"])
        optimizer.infinity_norm.copy_(tensors["optimizer.infinity_norm"])
        optimizer.steps.copy_(tensors["optimizer.steps"])
        optimizer.warmup_steps = checkpoint.record.warmup_steps
        self.step.skipped_in_a_row.copy_(tensors["skipped_in_a_row"])
        if average is not None:
            average.copy_(tensors["average"])
        self.best_weights = best_weights_in(checkpoint, optimizer.vector.device)
        for field in fields(History):
            setattr(self.history, field.name, copy(getattr(checkpoint.record.history, field.name)))
        self.metrics.restore(tensors["step_metrics"], int(tensors["skipped_in_a_row"]))


def initial_state(
    flow: Glow, batches: Batches, parameters: TrainParameters, y_weight: float, group: ProcessGroup
) -> TrainingState:
    """Return the state before the first step; the flow's weights are as they are.

    Args:
        flow: becomes part of the state.
        batches: training batches.
        parameters: training parameters.
        y_weight: weight of the class head's cross-entropy.
        group: the processes that train together.
    """
    epoch_steps = parameters.epoch_steps(len(batches.table), batches.batch_size)
    # At most a tenth of the run: with the default of 10 epochs a trial of one epoch would learn next to nothing.
    warmup_epochs = min(parameters.warmup, parameters.n_epochs / 10)
    optimizer = Adamax(
        flow.parameters(),
        lr=parameters.lr,
        warmup_steps=warmup_epochs * epoch_steps,
        weight_decay=parameters.decay,
        max_value=parameters.max_grad_clip,
        max_norm=parameters.max_grad_norm,
    )
    step = TrainingStep(
        flow,
        optimizer,
        y_weight,
        parameters.max_skipped_steps,
        accumulate=parameters.accumulate,
        batch_size=batches.batch_size,
        average=Average(optimizer.vector, parameters.ema),
        group=group,
    )
    history = History()
    metrics = StepMetrics(history, parameters.max_skipped_steps, epoch_steps, batches.device)
    return TrainingState(step, history, metrics, {})


def best_weights_in(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Weights:
    """Return the state dict of the best epoch."""
    return {
        name.removeprefix("best."): tensor.to(device)
        for name, tensor in checkpoint.tensors.items()
        if name.startswith("best.")
    }
