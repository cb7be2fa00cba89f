"""Descriptions of runs, which a person may edit: theirs is never overwritten."""

import hashlib
from typing import TYPE_CHECKING

from glow_pipeline.tracking.experiment import NOTE

if TYPE_CHECKING:
    from mlflow import MlflowClient

WRITTEN = "description_sha256"  # tag with the digest of the description that this project has written
LONGEST = 8000  # characters that a tag has room for


def describe_run(client: "MlflowClient", run_id: str, text: str) -> bool:
    """Write the run's description, in Markdown, unless a person has changed it; return whether it was written."""
    from mlflow.entities import RunTag

    tags = client.get_run(run_id).data.tags
    present = tags.get(NOTE, "")
    if present and tags.get(WRITTEN) != _digest(present):
        return False
    shortened = text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
    client.log_batch(run_id, tags=[RunTag(NOTE, shortened), RunTag(WRITTEN, _digest(shortened))])
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
