"""The run in which something was made."""

from pydantic import BaseModel, ConfigDict


class Provenance(BaseModel):
    """The run in which a model, a checkpoint or a detector was made.

    Attributes:
        command: as typed; None: not recorded, as by earlier versions.
    """

    model_config = ConfigDict(frozen=True)

    kedro_session: str | None = None
    mlflow_run_id: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    command: str | None = None
    versions: dict[str, str] = {}
