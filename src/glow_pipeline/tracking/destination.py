"""The place where a run is recorded, by conf's mlflow.yml and MLflow's variables of the environment."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click
from pydantic import BaseModel, ConfigDict, ValidationError

from glow_pipeline.tracking.runs import without_password

LOGGER = logging.getLogger(__name__)
DEFAULT_URI, DEFAULT_EXPERIMENT, DEFAULT_ARTIFACTS = "sqlite:///mlflow.db", "glow_pipeline", "mlartifacts"
SQLITE = "sqlite:///"
UNUSED = {
    "MLFLOW_RUN_ID": "each command has a run of its own",
    "MLFLOW_EXPERIMENT_ID": "name an experiment by MLFLOW_EXPERIMENT_NAME or in mlflow.yml",
}
# Kinds of address that MLflow opens in this process. All others are of a server, which keeps the artifacts itself.
OPENED_HERE = re.compile(
    r"(sqlite|postgresql|mysql|mssql)(\+\w+)?:|file:|(?!databricks|uc$|[a-z][a-z0-9+.-]+:)", re.IGNORECASE
)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # of two letters or more: C:\ is a folder


class TrackingConfig(BaseModel):
    """mlflow.yml; conf/base/mlflow.yml describes the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool
    tracking_uri: str | None
    experiment: str | None
    artifacts: str | None

    @classmethod
    def of(cls, loaded: dict[str, Any]) -> Self:
        """Validate what the file says.

        Raises:
            ClickException: one line with the first key that is wrong.
        """
        try:
            return cls.model_validate(loaded)
        except ValidationError as invalid:
            problem = invalid.errors()[0]
            raise click.ClickException(f"mlflow.yml: {problem['loc'][0]}: {problem['msg']}") from None


@dataclass(frozen=True)
class Destination:
    """A place where runs are recorded.

    Attributes:
        tracking_uri: of the database or server, absolute.
        experiment: its name.
        artifacts: the address where a new experiment keeps its artifacts; None: where the server keeps them.
        artifacts_by_default: nobody has chosen that address.
        shown: what named the tracking URI, and how, for messages.
    """

    tracking_uri: str
    experiment: str
    artifacts: str | None
    artifacts_by_default: bool
    shown: str

    @property
    def database(self) -> Path | None:
        """Return the file of a SQLite database without options."""
        plain = self.tracking_uri.startswith(SQLITE) and "?" not in self.tracking_uri
        return Path(self.tracking_uri.removeprefix(SQLITE)) if plain else None


def destination(config: TrackingConfig, project: Path, environment: Mapping[str, str]) -> Destination:
    """Return where this project's runs are recorded: by mlflow.yml, else by the environment, else by default."""
    uri, said_by = _chosen(config.tracking_uri, "tracking_uri", environment, "MLFLOW_TRACKING_URI", DEFAULT_URI)
    experiment, _ = _chosen(config.experiment, "experiment", environment, "MLFLOW_EXPERIMENT_NAME", DEFAULT_EXPERIMENT)
    shown = f"{said_by}={without_password(uri)}"
    for variable, reason in UNUSED.items():
        if environment.get(variable):
            LOGGER.info("MLflow: %s of the environment is not used: %s", variable, reason)
    # MLflow itself takes a relative path in the environment from the working directory.
    uri = _absolute(uri, Path.cwd() if said_by == "MLFLOW_TRACKING_URI" else project)
    artifacts = config.artifacts
    if artifacts is None and OPENED_HERE.match(uri):
        artifacts = DEFAULT_ARTIFACTS
    if artifacts is not None and not ADDRESS.match(artifacts):
        artifacts = (project / Path(artifacts).expanduser()).as_uri()
    return Destination(uri, experiment, artifacts, config.artifacts is None, shown)


def _chosen(
    configured: str | None, key: str, environment: Mapping[str, str], variable: str, default: str
) -> tuple[str, str]:
    """Return the value and the name of what gave it."""
    given = environment.get(variable) or None
    if configured is None:
        if given is not None:
            LOGGER.info("MLflow: %s=%s, of the environment", variable, without_password(given))
        return (default, f"mlflow.yml: {key}") if given is None else (given, variable)
    if given is not None and given != configured:
        LOGGER.warning(
            "mlflow.yml: %s=%s is used, not %s=%s of the environment",
            *(key, without_password(configured), variable, without_password(given)),
        )
    return configured, f"mlflow.yml: {key}"


def _absolute(uri: str, folder: Path) -> str:
    """Return the address with a SQLite file's path made absolute."""
    return f"{SQLITE}{folder / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri
