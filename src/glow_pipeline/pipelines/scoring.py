"""The preparation that all nodes share which score images."""

from collections.abc import Iterator
from contextlib import contextmanager

from glow_pipeline.density import scoring_threads
from glow_pipeline.device import use_device
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import OodParameters, TrainParameters
from glow_pipeline.training.model_file import TrainedGlow


@contextmanager
def flow_and_batches(
    model: TrainedGlow,
    images: ImageTable,
    ood: OodParameters,
    train: TrainParameters,
    device: str,
    largest_batch: int | None = None,
) -> Iterator[tuple[Glow, Batches]]:
    """Yield the flow and the batches of a table on the device, with the number of threads that scores them fastest.

    Args:
        model: the model.
        images: the table; may be empty.
        ood, train, device: parameters of the command.
        largest_batch: images in a batch at most, if that is fewer than `ood.batch_size`.

    Raises:
        NotEnoughMemoryError: an allocation in the block failed.
    """
    resolved = use_device(device)
    flow = model.flow.to(resolved)
    batches = Batches(images, min(ood.batch_size, largest_batch or ood.batch_size), resolved)
    with memory_in_one_line(f"ood.batch_size={ood.batch_size}", "lower it"):
        if len(images):
            with scoring_threads(flow, batches, train.threads):
                yield flow, batches
        else:
            yield flow, batches
