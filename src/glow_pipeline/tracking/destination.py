"""The place where a run is recorded, by conf's mlflow.yml and MLflow's variables of the environment."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.remote_storage import has_scheme
from glow_pipeline.tracking.failures import without_password
from glow_pipeline.tracking.pages import DEFAULT_PORT, port_of_ui

logger = logging.getLogger(__name__)
DEFAULT_URI, DEFAULT_EXPERIMENT, DEFAULT_ARTIFACTS = "sqlite:///mlflow.db", "glow_pipeline", "mlartifacts"
SQLITE = "sqlite:///"
UNUSED = {
    "MLFLOW_RUN_ID": "each command has a run of its own",
    "MLFLOW_EXPERIMENT_ID": "name an experiment by MLFLOW_EXPERIMENT_NAME or in mlflow.yml",
}
# Schemes that MLflow opens in this process; all others are of a server, which keeps the artifacts itself.
OPENED_HERE = re.compile(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?:|file:", re.IGNORECASE)
NAMED_SERVERS = re.compile(r"databricks|uc$", re.IGNORECASE)  # which have no scheme


class TrackingConfig(BaseModel):
    """The content of mlflow.yml; conf/base/mlflow.yml describes the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool
    tracking_uri: str | None
    experiment: str | None
    artifacts: str | None

    @classmethod
    def parse(cls, loaded: dict[str, Any]) -> Self:
        """Validate the content of the file.

        Raises:
            GlowPipelineError: one line with the first key that is wrong.
        """
        try:
            return cls.model_validate(loaded)
        except ValidationError as invalid:
            problem = invalid.errors()[0]
            raise GlowPipelineError(f"mlflow.yml: {problem['loc'][0]}: {problem['msg']}") from None


@dataclass(frozen=True)
class Destination:
    """A place where runs are recorded.

    Attributes:
        tracking_uri: address of the database or server, absolute.
        experiment: name of the experiment.
        artifacts: the address where a new experiment keeps its artifacts; None: where the server keeps them.
        artifacts_by_default: nobody has chosen that address.
        shown: what named the tracking URI, and how, for messages.
        project: the folder of the project.
        ui_port: where `make ui` serves a database.
    """

    tracking_uri: str
    experiment: str
    artifacts: str | None
    artifacts_by_default: bool
    shown: str
    project: Path
    ui_port: int = DEFAULT_PORT

    @property
    def database(self) -> Path | None:
        """The file of a SQLite database without options."""
        plain = self.tracking_uri.startswith(SQLITE) and "?" not in self.tracking_uri
        return Path(self.tracking_uri.removeprefix(SQLITE)) if plain else None

    @property
    def is_own(self) -> bool:
        """Whether it is a database in the project's folder, which no other project shares."""
        return self.database is not None and self.database.is_relative_to(self.project)


def destination(config: TrackingConfig, project: Path, environment: Mapping[str, str]) -> Destination:
    """Return where this project's runs are recorded: by mlflow.yml, else by the environment, else by default."""
    uri, named_by = _chosen(config.tracking_uri, "tracking_uri", environment, "MLFLOW_TRACKING_URI", DEFAULT_URI)
    experiment, _ = _chosen(config.experiment, "experiment", environment, "MLFLOW_EXPERIMENT_NAME", DEFAULT_EXPERIMENT)
    shown = f"{named_by}={without_password(uri)}"
    for variable, reason in UNUSED.items():
        if environment.get(variable):
            logger.info("MLflow: %s of the environment is not used: %s", variable, reason)
    # MLflow itself takes a relative path in the environment from the working directory.
    uri = _absolute(uri, Path.cwd() if named_by == "MLFLOW_TRACKING_URI" else project)
    artifacts = config.artifacts
    if artifacts is None and _is_opened_here(uri):
        artifacts = DEFAULT_ARTIFACTS
    if artifacts is not None and not has_scheme(artifacts):
        artifacts = (project / Path(artifacts).expanduser()).as_uri()
    return Destination(uri, experiment, artifacts, config.artifacts is None, shown, project, port_of_ui(environment))


def _chosen(
    configured: str | None, key: str, environment: Mapping[str, str], variable: str, default: str
) -> tuple[str, str]:
    """Return the value and the name of what gave it."""
    given = environment.get(variable) or None
    if configured is None:
        if given is not None:
            logger.info("MLflow: %s=%s, of the environment", variable, without_password(given))
        return (default, f"mlflow.yml: {key}") if given is None else (given, variable)
    if given is not None and given != configured:
        logger.warning(
            "mlflow.yml: %s=%s is used, not %s=%s of the environment",
            *(key, without_password(configured), variable, without_password(given)),
        )
    return configured, f"mlflow.yml: {key}"


def _is_opened_here(uri: str) -> bool:
    """Return whether MLflow opens this tracking URI in this process: a database or a folder, not a server."""
    return bool(OPENED_HERE.match(uri)) or not (NAMED_SERVERS.match(uri) or has_scheme(uri))


def _absolute(uri: str, folder: Path) -> str:
    """Return the address with a SQLite file's path made absolute."""
    return f"{SQLITE}{folder / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri
