"""Addresses of databases, valid and not."""

from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

from glow_pipeline.errors import GlowPipelineError
from tests.search.helpers import opened, searching


def test_database_is_in_the_project(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    opened(tmp_path / "a {project}")
    assert (tmp_path / "a {project}" / "data" / "06_models" / "optuna.db").is_file()
    monkeypatch.setenv("SEARCHES", str(tmp_path / "absolute"))
    opened(tmp_path, searching(storage="sqlite:///$SEARCHES/a.db"))
    assert (tmp_path / "absolute" / "a.db").is_file()


def test_tables_are_created_by_one_process(tmp_path: Path) -> None:
    file = tmp_path / "data" / "06_models" / "optuna.db"
    file.parent.mkdir(parents=True)
    second = Thread(target=opened, args=(tmp_path,))
    with FileLock(file.with_name(".optuna.db.lock")):
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert not file.exists()
    second.join()
    assert file.is_file()


@pytest.mark.parametrize(
    ("storage", "error"),
    [
        ("optuna.db", "search.storage=optuna.db: not an SQLAlchemy address; write sqlite:///"),
        ("sqlite://", "search.storage=sqlite://: a database in memory would forget the search"),
        ("sqlite:///:memory:", "a database in memory would forget the search"),
        ("nosuch://host/name", "search.storage=nosuch://host/name: Can't load plugin: sqlalchemy.dialects:nosuch"),
        ("postgresql+nosuchdriver://host/name", "search.storage=postgresql+nosuchdriver://host/name: "),
        ("mysql+asyncmy://host/name", "search.storage=mysql+asyncmy://host/name: "),
        ("postgresql://me:secret@host/name", "name a variable of the environment in its place"),
    ],
)
def test_invalid_address_is_reported_in_one_line(tmp_path: Path, storage: str, error: str) -> None:
    with pytest.raises(GlowPipelineError) as raised:
        opened(tmp_path, searching(storage=storage))
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_invalid_database_file_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("nothing of a database" * 100)
    with pytest.raises(
        GlowPipelineError, match=r"^search\.storage=sqlite:///text\.db: .*file is not a database; fix it"
    ):
        opened(tmp_path, searching(storage="sqlite:///text.db"))


def test_impossible_folder_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GlowPipelineError, match=r"^search\.storage=sqlite:///file/a\.db: "):
        opened(tmp_path, searching(storage="sqlite:///file/a.db"))
