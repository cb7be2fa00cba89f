"""The parameters of a run as MLflow records them."""

from typing import Any, NamedTuple

from glow_pipeline.hooks.stored_model import PLACES
from glow_pipeline.parameters import Parameters, flattened
from glow_pipeline.training.records import ModelRecord

MODEL_GROUPS = ("ingest", "model", "train")
# Parameters of the groups above that are the command's own: where the images are now, and how it computes.
COMMAND_PARAMETERS = (*PLACES, "ingest.on_unreadable", "ingest.max_pixels", "train.threads")


class StoredModel(NamedTuple):
    """A model that a run uses and has not made."""

    version: str
    record: ModelRecord


def recorded_parameters(parameters: Parameters, stored: StoredModel | None) -> dict[str, Any]:
    """Return the run's parameters by their dotted names.

    For a run that uses a stored model, the groups that made the model have the values with which it was made, whatever
    this command's are, so that runs compared by `model.K` are compared by the model's own. `stored_model` is the
    model's version, and `trained.seed` its seed.
    """
    present = flattened(parameters.model_dump())
    if stored is None:
        return present
    made_with = flattened(stored.record.parameters)
    models = {name: value for name, value in made_with.items() if _group(name) in MODEL_GROUPS}
    commands = {
        name: value for name, value in present.items() if _group(name) not in MODEL_GROUPS or name in COMMAND_PARAMETERS
    }
    return {**models, **commands, "stored_model": stored.version, "trained.seed": made_with.get("seed")}


def model_name(record: ModelRecord) -> str:
    """Return the name under which MLflow knows a model: it follows from the model, wherever its file is."""
    version = record.provenance.kedro_session or "unknown"
    return f"glow-{record.dataset}-{version.replace('.', '-').replace(':', '-')}"


def _group(name: str) -> str:
    return name.partition(".")[0]
