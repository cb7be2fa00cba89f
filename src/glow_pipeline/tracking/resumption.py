"""The parameters and tags that a resumed training adds to its MLflow run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SHORTENED = 6000  # MLflow keeps so many characters of a parameter, and more of a tag
COMMAND_TAGS = ("kedro_session", "kedro_command")  # tags that are those of the latest command


def describe_again(
    client: "MlflowClient", run: "Run", params: Mapping[str, object], tags: Mapping[str, object]
) -> dict[str, object]:
    """Record the parameters and tags of a resumed run, and return those of its parameters that it does not have yet.

    MLflow takes a parameter once. One that has changed (more epochs, say) is in a tag `resumed.<name>`, and so is a
    changed commit or version; the run's own parameters and tags stay those that it was started with.
    """
    from mlflow.entities import RunTag

    recorded = run.data.tags
    requested = {key: str(value) for key, value in {**tags, **params}.items() if not key.startswith("mlflow.")}
    started_with = {**recorded, **run.data.params}
    changed = {
        f"resumed.{key}": value
        for key, value in requested.items()
        if key not in COMMAND_TAGS and (not _same(started_with.get(key, value), value) or f"resumed.{key}" in recorded)
    }
    latest = {key: requested[key] for key in COMMAND_TAGS if key in requested}
    times = times_resumed(run) + 1
    new_tags = {**changed, **latest, "resumed": str(times)}
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in new_tags.items()])
    if "error" in recorded:  # what ended the run then is not how it ends now
        client.delete_tag(run.info.run_id, "error")
    return {key: value for key, value in params.items() if key not in run.data.params}


def times_resumed(run: "Run") -> int:
    """Return how often the run was resumed before."""
    return int(run.data.tags.get("resumed", 0))


def _same(recorded: str, value: str) -> bool:
    """Return whether MLflow, which shortens long values, has this one."""
    return recorded == value or (len(recorded) >= SHORTENED and value.startswith(recorded))
