"""Models in MLflow's registry that are made of code and files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from glow_pipeline.tracking.runs import RunAddress, client_of, mlflow_at

if TYPE_CHECKING:
    from mlflow import MlflowClient


class RegisteredModel(NamedTuple):
    """A version of a model in the registry."""

    name: str
    version: str
    new: bool  # whether it was registered just now

    @property
    def uri(self) -> str:
        """The address by which MLflow's commands find it."""
        return f"models:/{self.name}/{self.version}"


class CodeModel(NamedTuple):
    """A model of code and files, as MLflow stores it.

    Attributes:
        code: a file that calls `mlflow.models.set_model`; it is copied.
        artifacts: name -> file; they are copied.
        example: input and parameters of a request.
        config: the model's configuration, in JSON's types.
        requirements: packages with their versions, as pip takes them.
    """

    code: Path
    artifacts: Mapping[str, Path]
    example: tuple[Sequence[Any], Mapping[str, Any]]
    config: Mapping[str, Any]
    requirements: Sequence[str]


def registered_version(run: RunAddress, name: str, tags: Mapping[str, str]) -> RegisteredModel | None:
    """Return the newest version of the model that has all of these tags."""
    versions = client_of(run).search_model_versions(f"name='{name}'")
    found = [int(version.version) for version in versions if tags.items() <= version.tags.items()]
    return RegisteredModel(name, str(max(found)), new=False) if found else None


def register_code(run: RunAddress, name: str, model: CodeModel, tags: Mapping[str, str]) -> RegisteredModel:
    """Store a model with the artifacts of this thread's run, and register it as a new version.

    MLflow runs the example before it stores anything, and takes the signature from the code's type hints and from it.

    Args:
        run: the run of this thread.
        name: of the registered model.
        tags: of the version.

    Raises:
        one of `failures.mlflow_failures()`: MLflow or the storage of artifacts does not answer.
    """
    import mlflow

    inputs, parameters = model.example
    with mlflow_at(run.tracking_uri):
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(model.code),
            artifacts={key: str(path) for key, path in model.artifacts.items()},
            input_example=(list(inputs), dict(parameters)),
            model_config=dict(model.config),
            pip_requirements=list(model.requirements),
            tags=dict(tags),
        )
    client = client_of(run)
    _make_registered_model(client, name)
    # mlflow.register_model would print two lines.
    version = client.create_model_version(
        name, logged.model_uri, run.run_id, dict(tags), model_id=logged.model_id, await_creation_for=0
    )
    return RegisteredModel(name, str(version.version), new=True)


def _make_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
