"""The names of sessions."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io.core import generate_timestamp

from glow_pipeline import session_store
from glow_pipeline.session_store import UniqueSessionStore
from tests.project import copy_project


def begin(project: Path, stamp: str) -> str:
    store = UniqueSessionStore(path=str(project / "sessions"), session_id=stamp)
    store.update({"project_path": project, "session_id": stamp})
    assert store["project_path"] == project
    return str(store["session_id"])


def test_sessions_started_at_once_have_different_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "PATIENCE", 60)  # not two, but 64, on a machine that is busy
    kedros = generate_timestamp()
    with ThreadPoolExecutor(16) as threads:
        names = list(threads.map(lambda _: begin(tmp_path, kedros), range(64)))
    assert len(set(names)) == 64
    assert min(names) > kedros, "as Kedro's versions, the newer is the greater"
    for name in names:
        datetime.strptime(name, "%Y-%m-%dT%H.%M.%S.%fZ")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in ([], [".lock"])


def test_read_only_project_has_kedros_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "PATIENCE", 0.1)
    (tmp_path / "sessions").write_text("not a folder")
    assert begin(tmp_path, "kedros") == "kedros"
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(stat.S_IRUSR)
    if os.geteuid() != 0:
        assert begin(tmp_path / "closed", "kedros") == "kedros"


def test_kedro_uses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "generate_timestamp", lambda: "2000-01-01T00.00.00.000Z")
    project = copy_project(tmp_path)
    bootstrap_project(project)
    assert settings.SESSION_STORE_CLASS is UniqueSessionStore
    with KedroSession.create(project) as session:
        assert isinstance(session, KedroSession)
        assert session.store["session_id"] == "2000-01-01T00.00.00.000Z"
