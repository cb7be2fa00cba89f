"""The new database of MLflow."""

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from glow_pipeline.tracking.new_database import make_database


def tables(file: Path) -> list[list[str]]:
    """The statements that made each table and index of a database, in lines.

    In sorted lines: the constraints of a table come in an order that changes from one making to the next, since
    MLflow's migrations keep them in sets.
    """
    with closing(sqlite3.connect(file)) as database:
        statements = database.execute("select sql from sqlite_master where sql is not null").fetchall()
    return sorted(sorted(line.strip(" ,") for line in sql.split("\n\t")) for (sql,) in statements)


def use(file: Path) -> None:
    """Ask MLflow something, so that it opens the database, or makes it by itself."""
    mlflow.MlflowClient(f"sqlite:///{file}").create_experiment("used")


@pytest.fixture(scope="module")
def by_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database as MLflow makes it without us."""
    file = tmp_path_factory.mktemp("plain") / "mlflow.db"
    use(file)
    return file


def test_database_is_as_mlflow_makes_it(tmp_path: Path, by_mlflow: Path) -> None:
    before = mlflow.get_tracking_uri()
    file = tmp_path / "mlflow.db"
    make_database(file)
    assert list(tmp_path.iterdir()) == [file]
    assert mlflow.get_tracking_uri() == before
    made = tables(file)
    assert len(made) > 50
    assert made == tables(by_mlflow)
    use(file)
    assert tables(file) == made  # MLflow found nothing missing


def test_existing_database_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"")
    make_database(file)
    assert file.read_bytes() == b""


def test_database_made_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mlflow.db"
    monkeypatch.setattr(
        mlflow.MlflowClient, "get_experiment_by_name", lambda client, name: file.write_text("made by another")
    )
    make_database(file)
    assert file.read_text() == "made by another"
    assert list(tmp_path.iterdir()) == [file]


def test_interruption_leaves_no_partial_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(client: mlflow.MlflowClient, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_database(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_left_to_mlflow(tmp_path: Path) -> None:
    make_database(tmp_path / "missing" / "mlflow.db")
    assert list(tmp_path.iterdir()) == []
