"""The parameters of training: `train.*`.

Those that GenerativeZoo's Glow has too keep its names and defaults.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from glow_pipeline.device import Compile, DataOnDevice, PrecisionChoice
from glow_pipeline.flow.fast.execution import Activations
from glow_pipeline.parameters.group import Changeable, ParameterGroup
from glow_pipeline.parameters.interval import Interval


def _check_interval(value: float | str) -> float | str:
    try:
        Interval.parse(value)
    except ValueError:
        raise PydanticCustomError("interval", "Input should be minutes or steps above 0: 10, 10min, 500steps") from None
    return value


class TrainParameters(ParameterGroup):
    """The training."""

    batch_size: int = Field(128, ge=1, description="images per step, of all processes together")
    batch_size_per_device: Changeable[int | None] = Field(
        None,
        ge=1,
        description="images per step of each process: the other way to give train.batch_size, which is then this times "
        "all processes of all machines, and may not change on resume; null: train.batch_size counts",
    )
    n_epochs: Changeable[int] = Field(
        100, ge=1, description="epochs: passes over the training images, in full batches, or as train.epoch_images says"
    )
    epoch_images: int | None = Field(
        None,
        ge=1,
        description="images of an epoch, in full batches, after which validation, metrics and samples come; the next "
        "epoch continues the same pass; null: a pass over all",
    )
    lr: float = Field(2e-4, gt=0, description="learning rate of Adamax")
    warmup: float = Field(
        10.0, ge=0, description="epochs in which the learning rate rises from 0; at most a tenth of n_epochs"
    )
    decay: float = Field(0.0, ge=0, description="weight decay of Adamax")
    max_grad_clip: float = Field(0.0, ge=0, description="clip gradient values to this; 0: off")
    max_grad_norm: float = Field(0.0, ge=0, description="clip the gradient's norm to this; 0: off")
    activations: Changeable[Activations] = Field(
        "stored",
        description="what the backward pass keeps; stored: all layers; checkpointed: each step's output; "
        "reversible: the last output",
    )
    precision: PrecisionChoice = Field(
        "auto",
        description="precision of the coupling networks in training; auto: bfloat16 on a GPU that has it, else float32",
    )
    compile: Changeable[Compile] = Field(
        "auto", description="compile the kernels, and on a GPU capture each step as a CUDA graph; auto: on a GPU"
    )
    data_on_device: Changeable[DataOnDevice] = Field(
        "auto", description="keep the training images on the GPU; auto: if a quarter of its free memory holds them"
    )
    flip: bool = Field(False, description="mirror training images left to right, each time with probability 1/2")
    mutation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of pixel values that each batch replaces at random; above 0, the model is a background for "
        "ood.scores=likelihood_ratio and is stored apart from the dataset's other models",
    )
    stage: Changeable[str | None] = Field(
        None,
        description="local folder that the training images are copied to before they are read, once for all processes "
        "and later commands of a machine; null: they are read where they are",
    )
    num_workers: Changeable[int] = Field(
        0, ge=0, description="processes that read batches ahead; 0: the training process reads them"
    )
    sample_and_save_freq: Changeable[int] = Field(5, ge=1, description="epochs between logged samples")
    checkpoint: str | None = Field(
        None,
        description="model whose weights training starts from: a .safetensors file, or the name of a shipped one",
    )
    max_skipped_steps: int = Field(
        10, ge=1, description="consecutive steps with a non-finite loss or gradient that end the run"
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the weights' moving average, which evaluation, samples and scores then use; 0: off",
    )
    accumulate: Changeable[int] = Field(
        1, ge=1, description="parts that each batch is split into, to divide the memory of activations"
    )
    early_stopping: Changeable[int] = Field(
        0, ge=0, description="epochs without better validation bits/dim that end the training; 0: off"
    )
    checkpoint_every: Changeable[Annotated[float | str, AfterValidator(_check_interval)]] = Field(
        10.0, examples=[10, "10min", "500steps"], description="minutes or steps between checkpoints"
    )
    keep_checkpoints: Changeable[int] = Field(3, ge=1, description="number of newest checkpoints to keep")
    resume: Changeable[str] = Field(
        "auto",
        examples=["auto", "never", "path/to/checkpoint"],
        description="auto: resume the same command's interrupted training; never: start a new one; a checkpoint, or "
        "its folder: resume that",
    )
    devices: Changeable[Annotated[int, Field(ge=1)] | Literal["auto"]] = Field(
        1, description="processes on this machine that train together, each on its own GPU; auto: one per GPU"
    )
    nodes: Changeable[int] = Field(1, ge=1, description="machines that train together; type the command on each")
    rendezvous: Changeable[str | None] = Field(
        None, description="where these machines meet, as host:port of the first; null: MASTER_ADDR and MASTER_PORT"
    )
    threads: Changeable[int | None] = Field(
        None, ge=1, description="threads per process on a CPU, in scoring and sampling too; null: chosen by measurement"
    )
    max_restarts: Changeable[int] = Field(
        3, ge=0, description="restarts of all processes from the last checkpoint after one of them died"
    )

    def epoch_steps(self, n_images: int, batch_size: int) -> int:
        """Return the number of steps of an epoch.

        Args:
            n_images: number of training images.
            batch_size: images a step.
        """
        return max(1, (self.epoch_images or n_images) // batch_size)

    @property
    def batch_size_as_given(self) -> str:
        """The parameter that sets the size of a batch, as it is typed."""
        if self.batch_size_per_device is not None:
            return f"train.batch_size_per_device={self.batch_size_per_device}"
        return f"train.batch_size={self.batch_size}"
