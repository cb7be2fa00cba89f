"""What an old MLflow run is told when a resumed training goes on in it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SHORTENED = 6000  # MLflow keeps so many characters of a parameter, and more of a tag
OF_THIS_COMMAND = ("kedro_session", "kedro_command")  # tags that are those of the latest command


def describe_again(
    client: "MlflowClient", run: "Run", params: Mapping[str, object], tags: Mapping[str, object]
) -> dict[str, object]:
    """Write down what a resumed run was asked, and return those of its parameters that it does not have yet.

    MLflow takes a parameter once. One that has changed (more epochs, say) is in a tag `resumed.<name>`, and so is a
    changed commit or version; the run's own parameters and tags stay those that it was begun with.
    """
    from mlflow.entities import RunTag

    had = run.data.tags
    asked = {key: str(value) for key, value in {**tags, **params}.items() if not key.startswith("mlflow.")}
    begun = {**had, **run.data.params}
    changed = {
        f"resumed.{key}": value
        for key, value in asked.items()
        if key not in OF_THIS_COMMAND and (not _same(begun.get(key, value), value) or f"resumed.{key}" in had)
    }
    latest = {key: asked[key] for key in OF_THIS_COMMAND if key in asked}
    times = int(had.get("resumed", 0)) + 1
    told = {**changed, **latest, "resumed": str(times)}
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in told.items()])
    if "error" in had:  # what ended the run then is not how it ends now
        client.delete_tag(run.info.run_id, "error")
    return {key: value for key, value in params.items() if key not in run.data.params}


def _same(had: str, asked: str) -> bool:
    """Whether MLflow, which shortens long values, has this one."""
    return had == asked or (len(had) >= SHORTENED and asked.startswith(had))
