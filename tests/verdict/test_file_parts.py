"""Scores of files in parts: the same bits for all engines, processes and parts, and nothing done twice."""

import logging
import pickle
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from glow_pipeline.errors import HelperFinished
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.stores import FolderStore
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.file_parts import part_files, score_files, unscored_files
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.listing import list_files
from glow_pipeline.verdict.scored_files import FileScorer
from glow_pipeline.verdict.stored_parts import StoredParts
from glow_pipeline.workers.choice import Workers
from glow_pipeline.workers.part_work import Seat
from tests.conftest import random_images
from tests.verdict.judges import NLL, full_judge

N = 30
COLUMNS = [columns.CONTENT, NLL, SCORES["density_sum"].column, columns.P_VALUE, columns.UNREADABLE, columns.FINDINGS]
ARRAY = Workers(engine="array", of=3, part_images=4)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return full_judge()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty PNG files of noise, and one that is none between them."""
    folder = tmp_path_factory.mktemp("files") / "scans"
    folder.mkdir()
    for i, image in enumerate(random_images(N)):
        Image.fromarray(image[0].numpy()).save(folder / f"{i:02}.png")
    (folder / "10x.png").write_text("no image")
    return folder


def scorer(judge: Judge, folder: Path, batch_size: int = 4) -> FileScorer:
    return FileScorer(judge, list_files(str(folder)), judge.image_format, batch_size, num_workers=0, max_pixels=10**6)


@pytest.fixture(scope="module")
def at_once(judge: Judge, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of all files, by one command and process."""
    return score_files(scorer(judge, folder), StoredParts(FolderStore(tmp_path_factory.mktemp("parts"))))


def rows_of(judge: Judge, folder: Path, store: Path, workers: Workers, processes: int = 1) -> pd.DataFrame:
    return score_files(scorer(judge, folder), StoredParts(FolderStore(store)), workers, processes)


@pytest.mark.parametrize("part", [3, 8, 100])
def test_parts_do_not_change_a_bit(
    judge: Judge, folder: Path, tmp_path: Path, at_once: pd.DataFrame, part: int
) -> None:
    workers = Workers(part_images=part)
    work = unscored_files(scorer(judge, folder), StoredParts(FolderStore(tmp_path)), workers)
    for number in reversed(work.missing()):
        assert sum(work.run([number], Seat(0, 2))) == min(work.part_files, N + 1 - number * work.part_files)
    assert not work.missing()
    pd.testing.assert_frame_equal(work.known.frame()[COLUMNS], at_once[COLUMNS], check_exact=True)


def test_other_process_scores_the_same(judge: Judge, folder: Path, tmp_path: Path, at_once: pd.DataFrame) -> None:
    workers = Workers(part_images=4)
    work = unscored_files(scorer(judge, folder), StoredParts(FolderStore(tmp_path)), workers)
    list(work.run([1], Seat()))
    work.missing()
    sent = pickle.loads(pickle.dumps(work))
    assert sum(sent.run(range(len(work.sizes)), Seat(1, 2))) == N + 1 - 4
    pd.testing.assert_frame_equal(rows_of(judge, folder, tmp_path, workers), at_once, check_exact=True)


def test_last_of_the_commands_goes_on(
    judge: Judge,
    folder: Path,
    tmp_path: Path,
    at_once: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for index in ("2", "0"):
        monkeypatch.setenv("NODE_RANK", index)
        with pytest.raises(HelperFinished):
            rows_of(judge, folder, tmp_path, ARRAY)
    assert caplog.messages[-1].startswith("This machine has helped: its share (parts 0, 3, 6 of 8) of score is stored")
    assert "missing: parts 1, 4, 7" in caplog.messages[-1]
    monkeypatch.setenv("NODE_RANK", "1")
    for _ in range(2):
        pd.testing.assert_frame_equal(rows_of(judge, folder, tmp_path, ARRAY), at_once, check_exact=True)
    monkeypatch.setenv("NODE_RANK", "0")
    with pytest.raises(HelperFinished):
        rows_of(judge, folder, tmp_path, ARRAY)
    assert "the command with the number 1 of 0 to 2 continues" in caplog.messages[-1]


def test_one_command_alone_tries_unreadable_files_again(judge: Judge, folder: Path, tmp_path: Path) -> None:
    rows_of(judge, folder, tmp_path, Workers())
    again = {}
    for engine in ("processes", "array"):
        stored = StoredParts(FolderStore(tmp_path))
        again[engine] = unscored_files(scorer(judge, folder), stored, Workers(engine=engine))
    assert again["processes"].known.to_do.tolist() == [11]
    assert again["array"].known.to_do.tolist() == []


@pytest.mark.parametrize(
    ("n", "batch_size", "processes", "files"),
    [(31, 256, 2, 256), (20_000, 256, 2, 1024), (10**6, 256, 8, 4096), (10**6, 4096, 8, 4096), (10**4, 5000, 1, 5000)],
)
def test_parts_are_whole_batches(n: int, batch_size: int, processes: int, files: int) -> None:
    assert part_files(n, batch_size, "processes", processes) == files


def test_commands_agree_on_parts_whatever_they_are_given() -> None:
    assert len({part_files(10**5, 256, "array", processes) for processes in (1, 2, 64)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_processes_score_the_same(
    judge: Judge, folder: Path, tmp_path: Path, at_once: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
        monkeypatch.setenv("RAY_ADDRESS", "local")
    workers = Workers(engine=engine, part_images=4)
    pd.testing.assert_frame_equal(rows_of(judge, folder, tmp_path, workers, 2), at_once, check_exact=True)
    if engine == "ray":
        sys.modules["ray"].shutdown()
