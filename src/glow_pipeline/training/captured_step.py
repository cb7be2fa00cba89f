"""A training step as CUDA graphs."""

from torch import Tensor

from glow_pipeline.flow.fast.cuda_graph import GraphRecorder
from glow_pipeline.training.step import TrainingStep


class Captured:
    """A training step as CUDA graphs, which the host launches at once instead of kernel by kernel.

    It is one graph if the process trains alone, else two with the communication between them: in a graph NCCL's is not
    certain to work, and a missing process would not be noticed.

    Args:
        step: the training step.
        example: inputs of the step; all later ones must have these shapes.
        recorder: records the graphs; None: on the present GPU. It may record others, which are replayed between steps.
    """

    def __init__(self, step: TrainingStep, *example: Tensor, recorder: GraphRecorder | None = None) -> None:
        self._inputs, self._communicate = [tensor.clone() for tensor in example], step.sum_over_processes
        self.recorder = recorder = recorder or GraphRecorder()
        recorder.warm_up(lambda: step.rehearse(*self._inputs))
        if step.group.shard.world_size == 1:
            self._gradients, self._bits_per_dim = recorder.record(lambda: step(*self._inputs))
            self._update = None
        else:
            self._gradients, _ = recorder.record(lambda: step.compute_gradients(*self._inputs))
            self._update, self._bits_per_dim = recorder.record(step.update)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for place, given in zip(self._inputs, inputs, strict=True):
            place.copy_(given, non_blocking=True)
        self._gradients.replay()
        if self._update is not None:
            self._communicate()
            self._update.replay()
        return self._bits_per_dim
