"""The two parameters that give the size of a batch, of which one counts."""

from collections.abc import Iterable, Mapping
from typing import Any

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters.root import Parameters

COMPLETE, PER_DEVICE = "train.batch_size", "train.batch_size_per_device"


def one_batch_size(raw: dict[str, Any], layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the configuration with the batch size that was given last, as other values override each other.

    Args:
        raw: merged configuration, in which `train.batch_size` always has a value.
        layers: the values above conf/base by their dotted names, those of the highest layer first.

    Raises:
        GlowPipelineError: one layer gives both.
    """
    train = raw.get("train")
    if not isinstance(train, Mapping) or train.get("batch_size_per_device") is None:
        return raw
    for values in layers:
        complete, per_device = values.get(COMPLETE), values.get(PER_DEVICE)
        if complete is not None and per_device is not None:
            raise GlowPipelineError(
                f"{PER_DEVICE}={per_device}: {COMPLETE}={complete} is given beside it, and either sets the other; "
                f"leave one of them out"
            )
        if complete is not None:
            return {**raw, "train": {**train, "batch_size_per_device": None}}
        if per_device is not None:
            break
    return raw


def with_complete_batches(parameters: Parameters, processes: int) -> Parameters:
    """Return the parameters with the `train.batch_size` that `train.batch_size_per_device` gives, if that is set.

    Args:
        parameters: all parameters of the command.
        processes: processes of all machines that train together.
    """
    train = parameters.train
    if train.batch_size_per_device is None:
        return parameters
    resulting = train.model_copy(update={"batch_size": train.batch_size_per_device * processes})
    return parameters.model_copy(update={"train": resulting})
