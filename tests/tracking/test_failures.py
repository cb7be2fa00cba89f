"""MLflow that does not answer."""

import os

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from glow_pipeline.tracking.failures import HURRIED, PATIENT, mlflow_may_fail


def patience() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in PATIENT}


def fail(error: Exception) -> None:
    with mlflow_may_fail("this"):
        raise error


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PATIENT.items():
        monkeypatch.setenv(name, value)


def test_waits_are_short_until_mlflow_answers() -> None:
    fail(MlflowException("no connection"))
    assert patience() == HURRIED
    fail(MlflowException("no connection"))
    assert patience() == HURRIED
    with mlflow_may_fail("this"):
        pass
    assert patience() == PATIENT


def test_refusal_changes_no_wait() -> None:
    fail(MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST))
    assert patience() == PATIENT


def test_users_own_waits_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PATIENT:
        monkeypatch.setenv(name, "30")
    fail(MlflowException("no connection"))
    assert patience() == dict.fromkeys(PATIENT, "30")
