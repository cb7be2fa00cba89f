"""All that a training knows between two steps: to a checkpoint, and from one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.history import History, Tally
from glow_pipeline.training.step import TrainingStep

Weights = Mapping[str, Tensor]


@dataclass
class TrainingState:
    """What changes from step to step. What is drawn at random is not in it: it depends on seed and step alone.

    Attributes:
        step: holds the model, its optimizer and the average of its weights.
        best_weights: a state dict, of the best epoch; averaged ones where weights are averaged.
    """

    step: TrainingStep
    history: History
    tally: Tally
    best_weights: Weights

    @property
    def model(self) -> Glow:
        return self.step.model

    def checkpoint(self) -> Checkpoint:
        """A view of the state, good until the next step."""
        optimizer, average = self.step.optimizer, self.step.average.value
        # The parameters go as the vector that they are: name by name the copying would take many times as long.
        tensors = {
            "optimizer.vector": optimizer.vector,
            "optimizer.first_moment": optimizer.first_moment,
            "optimizer.infinity_norm": optimizer.infinity_norm,
            "optimizer.steps": optimizer.steps,
            "skipped_in_a_row": self.step.skipped_in_a_row,
            "told": self.tally.told,
            **({} if average is None else {"average": average}),
            **{f"buffer.{name}": tensor for name, tensor in self.model.named_buffers()},
            **{f"best.{name}": tensor for name, tensor in self.best_weights.items()},
        }
        return Checkpoint(tensors, {"history": asdict(self.history), "warmup_steps": optimizer.warmup_steps})

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Become what the checkpoint says. Its tensors are copied, and may be on another device."""
        optimizer, average, tensors = self.step.optimizer, self.step.average.value, checkpoint.tensors
        optimizer.vector.copy_(tensors["optimizer.vector"])
        for name, buffer in self.model.named_buffers():
            buffer.copy_(tensors[f"buffer.{name}"])
        optimizer.first_moment.copy_(tensors["optimizer.first_moment"])
        optimizer.infinity_norm.copy_(tensors["optimizer.infinity_norm"])
        optimizer.steps.copy_(tensors["optimizer.steps"])
        optimizer.warmup_steps = checkpoint.facts["warmup_steps"]
        self.step.skipped_in_a_row.copy_(tensors["skipped_in_a_row"])
        if average is not None:
            average.copy_(tensors["average"])
        self.best_weights = best_weights_in(checkpoint, optimizer.vector.device)
        for name, value in checkpoint.facts["history"].items():
            setattr(self.history, name, value)
        self.tally.restore(tensors["told"], int(tensors["skipped_in_a_row"]))


def best_weights_in(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Weights:
    """The state dict of the best epoch."""
    return {
        name.removeprefix("best."): tensor.to(device)
        for name, tensor in checkpoint.tensors.items()
        if name.startswith("best.")
    }


def copied(weights: Weights) -> Weights:
    """The weights as they are now, whatever becomes of them."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}
