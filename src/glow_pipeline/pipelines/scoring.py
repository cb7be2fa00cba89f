"""The preparation that all nodes share which score images."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from glow_pipeline.density import scoring_batch, scoring_threads
from glow_pipeline.device import describe_device, use_device
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import OodParameters, TrainParameters
from glow_pipeline.training.model_file import TrainedGlow

logger = logging.getLogger(__name__)


def images_at_once(flow: Glow, ood: OodParameters) -> int:
    """Return how many images to score at once, and log the number once if it is chosen here for a GPU."""
    n, device = scoring_batch(flow, ood.batch_size), next(flow.parameters()).device
    if ood.batch_size is None and device.type != "cpu":
        _announce(n, describe_device(device))
    return n


@cache  # a command scores several tables
def _announce(n: int, device: str) -> None:
    logger.info("ood.batch_size=null: %s images are scored at once on %s", f"{n:,}", device)


@contextmanager
def flow_and_batches(
    model: TrainedGlow,
    images: ImageTable,
    ood: OodParameters,
    train: TrainParameters,
    device: str,
    *,
    at_most_as_in_training: bool = False,
) -> Iterator[tuple[Glow, Batches]]:
    """Yield the flow and the batches of a table on the device, with the number of threads that scores them fastest.

    Args:
        model: the model.
        images: the table; may be empty.
        ood, train, device: parameters of the command.
        at_most_as_in_training: score no more images at once than a training does, if `ood.batch_size` is larger.

    Raises:
        NotEnoughMemoryError: an allocation in the block failed.
    """
    resolved = use_device(device)
    flow = model.flow.to(resolved)
    batch_size = images_at_once(flow, ood)
    if at_most_as_in_training:
        batch_size = min(batch_size, scoring_batch(flow))
    batches = Batches(images, batch_size, resolved)
    with memory_in_one_line(f"ood.batch_size={batch_size}", "lower it"):
        if len(images):
            with scoring_threads(flow, batches, train.threads):
                yield flow, batches
        else:
            yield flow, batches
