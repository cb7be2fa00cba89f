"""Tables of gigabytes, which MLflow names and does not copy."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kedro.io import DataCatalog, Version

from glow_pipeline.datasets import ScoreTableDataset
from glow_pipeline.hooks.tracking import MOST_COPIED, Tracker
from glow_pipeline.tracking.command_run import CommandRun
from glow_pipeline.tracking.pages import Pages
from tests.outliers.test_score_table import scores


class Recorder(CommandRun):
    """A run that keeps what it would send to MLflow."""

    def __init__(self) -> None:
        self.address, self.pages = cast(Any, SimpleNamespace(run_id="1")), Pages("http://localhost", "1")
        self.files: list[str] = []
        self.texts: dict[str, str] = {}

    def log_file(self, file: Path, folder: str | None) -> None:
        self.files.append(f"{folder}/{file.name}")

    def log_text(self, text: str, path: str) -> None:
        self.texts[path] = text


@pytest.mark.parametrize("large", [False, True])
def test_large_table_is_named_and_not_copied(large: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entry = ScoreTableDataset(
        filepath=str(tmp_path / "ood_scores.parquet"),
        version=Version(None, "2026-01-01T00.00.00.000Z"),
        metadata={"mlflow": "tables"},
    )
    entry.save(scores(3))
    stored = Path(str(entry._get_load_path()))
    if large:
        with stored.open("ab") as file:
            file.truncate(MOST_COPIED + 1)  # a hole, which takes no room
    run = Recorder()
    with caplog.at_level(logging.INFO):
        Tracker(run, DataCatalog({"ood_scores": entry}), tmp_path, cast(Any, None)).record_saved("ood_scores", None)
    if not large:
        assert (run.files, run.texts) == (["tables/ood_scores.parquet"], {})
        return
    assert run.files == []
    assert run.texts == {"tables/ood_scores.stored_at.txt": f"{stored}\n100 MB, not copied into MLflow\n"}
    assert f"MLflow records where ood_scores is stored, and no copy of its 100 MB: {stored}" in caplog.messages
