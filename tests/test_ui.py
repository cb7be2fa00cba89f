"""`make ui`: what it prints and what it becomes."""

import os
import socket
from pathlib import Path

import pytest

from glow_pipeline import ui
from glow_pipeline.tracking.destination import Destination
from glow_pipeline.tracking.start import start_run
from tests.project import copy_project, new_mlflow_database


def place_in(folder: Path) -> Destination:
    return Destination(f"sqlite:///{folder}/mlflow.db", "glow_pipeline", folder.as_uri(), True, "", folder, 5005)


def test_pages_of_the_newest_run_are_printed(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    assert ui.lines_of_pages(place) == ["http://127.0.0.1:5005: no runs are recorded yet; `make run` makes the first"]
    (tmp_path / "mlflow.db").write_bytes(new_mlflow_database())
    assert "experiment glow_pipeline has no runs yet" in ui.lines_of_pages(place)[0]
    with start_run(place, "train digits", {}, {"pipeline": "train", "dataset": "digits"}) as run:
        pass
    lines = ui.lines_of_pages(place)
    assert lines[0] == "MLflow at http://127.0.0.1:5005, in its mode for model training:"
    assert any(f"/runs/{run.address.run_id}?workflowType=machine_learning" in line for line in lines)


def test_database_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    assert ui.lines_of_pages(place_in(tmp_path)) == ["http://127.0.0.1:5005: file is not a database"]


def started_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that it has become."""
    commands: list[list[str]] = []
    monkeypatch.chdir(project)
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    ui.main()
    return commands


def test_database_is_served_at_the_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UI_PORT", "5005")
    (command,) = started_in(copy_project(tmp_path, mlflow_used=False), monkeypatch)
    assert command[1:] == [
        *("-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"),
        *("--host", "127.0.0.1", "--port", "5005"),
    ]
    assert "no runs are recorded yet" in capsys.readouterr().out


def test_server_has_a_ui_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = copy_project(tmp_path, mlflow_used=False)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text("tracking_uri: http://127.0.0.1:1\n")
    assert started_in(project, monkeypatch) == []
    assert capsys.readouterr().out.startswith("http://127.0.0.1:1: ")


def test_wrong_port_ends_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UI_PORT", "http")
    with pytest.raises(SystemExit, match=r"^Error: UI_PORT=http: must be a port, 1 to 65535; correct it, or unset it$"):
        started_in(copy_project(tmp_path, mlflow_used=False), monkeypatch)


def test_port_in_use_ends_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("UI_PORT", str(port))
        with pytest.raises(SystemExit, match=f"^Error: port {port}: .* make ui PORT={port + 1}$"):
            started_in(copy_project(tmp_path, mlflow_used=False), monkeypatch)
