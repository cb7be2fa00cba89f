"""The choice of where runs are recorded."""

from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.tracking.destination import TrackingConfig, destination

HERE = Path("/project")
SERVER, OTHER = "http://server:5000", "http://other:5000"


def config(**given: Any) -> TrackingConfig:
    return TrackingConfig.parse({"enabled": True, "tracking_uri": None, "experiment": None, "artifacts": None, **given})


def test_default_place_is_the_project(caplog: pytest.LogCaptureFixture) -> None:
    place = destination(config(), HERE, {})
    assert (place.tracking_uri, place.experiment) == ("sqlite:////project/mlflow.db", "glow_pipeline")
    assert place.artifacts == "file:///project/mlartifacts"
    assert place.database == HERE / "mlflow.db"
    assert place.shown == "mlflow.yml: tracking_uri=sqlite:///mlflow.db"
    assert caplog.messages == []


def test_the_environment_comes_before_the_default(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    place = destination(config(), HERE, {"MLFLOW_TRACKING_URI": SERVER, "MLFLOW_EXPERIMENT_NAME": "mine"})
    assert (place.tracking_uri, place.experiment, place.artifacts) == (SERVER, "mine", None)
    assert place.shown == f"MLFLOW_TRACKING_URI={SERVER}"
    assert caplog.messages == [
        f"MLflow: MLFLOW_TRACKING_URI={SERVER}, of the environment",
        "MLflow: MLFLOW_EXPERIMENT_NAME=mine, of the environment",
    ]


def test_mlflow_yml_overrides_the_environment(caplog: pytest.LogCaptureFixture) -> None:
    place = destination(config(tracking_uri=SERVER), HERE, {"MLFLOW_TRACKING_URI": OTHER})
    assert place.tracking_uri == SERVER
    assert caplog.messages == [
        f"mlflow.yml: tracking_uri={SERVER} is used, not MLFLOW_TRACKING_URI={OTHER} of the environment"
    ]


def test_equal_or_empty_variable_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    destination(config(tracking_uri=SERVER), HERE, {"MLFLOW_TRACKING_URI": SERVER, "MLFLOW_EXPERIMENT_NAME": ""})
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("tracking_uri", "artifacts", "expected"),
    [
        (SERVER, None, None),
        ("databricks", None, None),
        ("runs", None, "file:///project/mlartifacts"),
        ("postgresql+psycopg2://host/db", None, "file:///project/mlartifacts"),
        (SERVER, "mlflow-artifacts:/glow", "mlflow-artifacts:/glow"),
        (SERVER, "s3://bucket/glow", "s3://bucket/glow"),
        (None, "dbfs:/glow", "dbfs:/glow"),
        (SERVER, "shared/artifacts", "file:///project/shared/artifacts"),
        (None, "/srv/artifacts", "file:///srv/artifacts"),
    ],
)
def test_artifacts_stay_with_the_server_by_default(
    tracking_uri: str | None, artifacts: str | None, expected: str | None
) -> None:
    assert destination(config(tracking_uri=tracking_uri, artifacts=artifacts), HERE, {}).artifacts == expected


@pytest.mark.parametrize("variable", ["MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"])
def test_unused_variable_is_reported(variable: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    destination(config(), HERE, {variable: "1"})
    (message,) = caplog.messages
    assert message.startswith(f"MLflow: {variable} of the environment is not used: ")


def test_relative_environment_database_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = destination(config(), HERE, {"MLFLOW_TRACKING_URI": "sqlite:///own.db"})
    assert typed.tracking_uri == f"sqlite:///{tmp_path}/own.db"


def test_database_with_options_is_left_to_mlflow() -> None:
    assert destination(config(tracking_uri="sqlite:///own.db?timeout=5"), HERE, {}).database is None


def test_no_password_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    given = "https://me:secret@server/mlflow"
    place = destination(config(tracking_uri=given), HERE, {"MLFLOW_TRACKING_URI": "postgresql://me:secret@host/db"})
    assert place.tracking_uri == given
    assert place.shown == "mlflow.yml: tracking_uri=https://me:***@server/mlflow"
    assert "secret" not in caplog.text


def test_wrong_key_is_one_line() -> None:
    with pytest.raises(GlowPipelineError, match=r"^mlflow.yml: tracking_url: Extra inputs are not permitted$"):
        config(tracking_url=SERVER)
