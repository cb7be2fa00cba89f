"""The Dockerfile, of which no image is built here: its files exist and are sent, and its command is one of MLflow's."""

import json
import re

from mlflow.models.cli import serve

from tests.project import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_copied_files_exist_and_are_sent() -> None:
    copied = [name for line in re.findall("^COPY (.*)", DOCKERFILE, flags=re.MULTILINE) for name in line.split()[:-1]]
    assert "requirements.lock" in copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert [name for name in copied if f"!{name}" not in sent] == []


def test_command_has_the_options_of_mlflow() -> None:
    (command,) = re.findall("^CMD (.*)", DOCKERFILE, flags=re.MULTILINE)
    program, group, subcommand, *options = json.loads(command)
    assert (program, group, subcommand) == ("mlflow", "models", "serve")
    parsed = serve.make_context("serve", options).params
    assert (parsed["model_uri"], parsed["host"], parsed["port"]) == ("/model", "0.0.0.0", 5001)
    assert "EXPOSE 5001" in DOCKERFILE
    assert "127.0.0.1:5001/ping" in DOCKERFILE


def test_image_runs_without_root() -> None:
    users = re.findall(r"^(USER|CMD) (\w*)", DOCKERFILE, flags=re.MULTILINE)
    assert users == [("USER", "serving"), ("CMD", "")]
