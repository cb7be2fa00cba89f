"""The identity of a training: the parameters that decide its result, which a resumed training may not change."""

import hashlib
import json
from typing import Any

from glow_pipeline.parameters import Parameters, changeable_on_resume, flattened, known_names
from glow_pipeline.training.named_model import shorter_name

# Parameters of the identity that were added later, with the value that stands for earlier trainings. It is left out of
# the identity, whose fingerprint therefore remains that of earlier trainings.
ADDED: dict[str, object] = {
    "ingest.calibration_percentage": 0.0,
    "ingest.val_images": None,
    "train.mutation": 0.0,
    "train.epoch_images": None,
}


def identity(parameters: Parameters) -> dict[str, Any]:
    """Return the parameters that a resumed training may not change, by dotted names; values as in JSON.

    Those of `ADDED` are left out where they have the value of earlier trainings. A shipped model that it starts
    from has its name, whether that or its path was typed.
    """
    values, changeable = flattened(json.loads(parameters.model_dump_json())), changeable_on_resume()
    if (typed := parameters.train.checkpoint) is not None:
        values["train.checkpoint"] = shorter_name(typed)
    kept = {name: values[name] for name in known_names() if name not in changeable}
    return {name: value for name, value in kept.items() if name not in ADDED or value != ADDED[name]}


def fingerprint(parameters: Parameters) -> str:
    """Return the start of the identity's SHA-256, 12 hex digits, for a folder's name."""
    return hashlib.sha256(json.dumps(identity(parameters), sort_keys=True).encode()).hexdigest()[:12]
