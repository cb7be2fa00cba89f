"""Scores of files: equal to the judge's own, kept from interrupted commands, anew for changed files."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.stores import FolderStore
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.file_parts import score_files
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.listing import ListedFiles, list_files
from glow_pipeline.verdict.score_rows import findings_of
from glow_pipeline.verdict.scored_files import LARGE, FileScorer, path_of, shown_path
from glow_pipeline.verdict.stored_parts import StoredParts
from tests.conftest import random_images
from tests.verdict.judges import NLL, nll_judge

N = 30


@pytest.fixture(scope="module")
def judge() -> Judge:
    return nll_judge()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty PNG files of noise, and one that is none between them."""
    (tmp_path / "scans").mkdir()
    for i, image in enumerate(random_images(N)):
        Image.fromarray(image[0].numpy()).save(tmp_path / "scans" / f"{i:02}.png")
    (tmp_path / "scans" / "10x.png").write_text("no image")
    return tmp_path / "scans"


def scorer(judge: Judge, listed: ListedFiles, batch_size: int = 8) -> FileScorer:
    return FileScorer(judge, listed, judge.image_format, batch_size, num_workers=0, max_pixels=10**6)


def parts_beside(folder: Path) -> StoredParts:
    return StoredParts(FolderStore(folder.parent / "parts"))


def score(judge: Judge, folder: Path, batch_size: int = 8) -> pd.DataFrame:
    return score_files(scorer(judge, list_files(str(folder)), batch_size), parts_beside(folder))


class Counting(FilesOnDisk):
    """A reader that notes which files are read, and is interrupted at one of them."""

    def __init__(self, listed: ListedFiles, interrupted_at: int | None = None) -> None:
        super().__init__(listed.folder, listed.names)
        self.read: list[int] = []
        self._interrupted_at = interrupted_at

    def __call__(self, index: int) -> bytes:
        if index == self._interrupted_at:
            raise KeyboardInterrupt
        self.read.append(index)
        return super().__call__(index)


@dataclass(frozen=True)
class Watched(ListedFiles):
    """Listed files with a reader that was handed in."""

    counting: Counting | None = None

    @property
    def reader(self) -> FilesOnDisk:
        assert self.counting is not None
        return self.counting


def watched(folder: Path, interrupted_at: int | None = None) -> tuple[ListedFiles, Counting]:
    listed = list_files(str(folder))
    reader = Counting(listed, interrupted_at)
    return Watched(listed.folder, listed.names, counting=reader), reader


def read_again(judge: Judge, folder: Path) -> list[int]:
    """The positions of the files that a second command reads."""
    listed, reader = watched(folder)
    score_files(scorer(judge, listed), parts_beside(folder))
    return reader.read


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_scores_are_those_of_the_judge(judge: Judge, folder: Path, batch_size: int) -> None:
    scored = score(judge, folder, batch_size)
    readable = scored[scored[columns.UNREADABLE].isna()]
    (judged,) = judge.judged([prepare(random_images(N), judge.image_format)])
    assert list(readable.index) == [i for i in range(N + 1) if i != 11]
    np.testing.assert_allclose(readable[NLL], judged.scores[NLL], rtol=1e-6)
    assert readable[columns.P_VALUE].tolist() == judged.p_values.tolist()
    assert readable[columns.CONTENT].tolist() == judged.content_hashes.tolist()
    assert set(readable[columns.WIDTH]) == {8}
    assert set(readable[columns.KIND]) == {"PNG"}


def test_unreadable_file_is_a_row_with_its_reason(judge: Judge, folder: Path) -> None:
    row = score(judge, folder).iloc[11]
    assert row[columns.FILE] == str(folder / "10x.png")
    assert row[columns.UNREADABLE] == "not an image, or of an unknown kind"
    assert row[[columns.P_VALUE, NLL, columns.CONTENT]].isna().all()


def test_large_file_without_image_is_not_read(judge: Judge, folder: Path) -> None:
    with (folder / "film.mp4").open("wb") as file:
        file.truncate(LARGE + 1)
    listed, reader = watched(folder)
    scored = score_files(scorer(judge, listed), parts_beside(folder))
    assert reader.read == list(range(N + 1))
    assert scored[columns.UNREADABLE].iloc[-1] == "not an image, or of an unknown kind"


def test_folder_without_a_readable_file_is_scored(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.png").touch()
    scored = score(judge, tmp_path / "scans")
    assert scored[columns.UNREADABLE].tolist() == ["empty file"]


def test_finished_files_are_not_read_again(judge: Judge, folder: Path) -> None:
    first = score(judge, folder)
    assert read_again(judge, folder) == [11]  # the unreadable one
    pd.testing.assert_frame_equal(score(judge, folder), first)


def test_interrupted_command_continues(judge: Judge, folder: Path) -> None:
    listed, reader = watched(folder, interrupted_at=20)
    with pytest.raises(KeyboardInterrupt):
        score_files(scorer(judge, listed), parts_beside(folder))
    assert reader.read == list(range(20))
    again = read_again(judge, folder)
    assert set(again) >= set(range(20, N + 1))
    complete = score(judge, folder)
    for path in (folder.parent / "parts").iterdir():
        path.unlink()
    pd.testing.assert_frame_equal(score(judge, folder), complete)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes() + b" "),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.with_name("other").write_bytes(path.read_bytes()) and path.with_name("other").replace(path),
    ],
    ids=["size", "time", "replaced"],
)
def test_changed_file_is_scored_again(judge: Judge, folder: Path, change: Callable[[Path], object]) -> None:
    score(judge, folder)
    change(folder / "05.png")
    assert read_again(judge, folder) == [5, 11]


def test_files_that_are_gone_have_no_row(judge: Judge, folder: Path) -> None:
    score(judge, folder)
    (folder / "05.png").unlink()
    assert len(score(judge, folder)) == N


def test_names_beyond_utf8_lead_back_to_files(judge: Judge, folder: Path) -> None:
    odd = folder / os.fsdecode(b"a\xff.png")
    (folder / "05.png").rename(odd)
    scored = score(judge, folder)
    shown = scored[columns.FILE].iloc[-1]
    assert shown == f"{folder}/a\\xff.png"
    assert path_of(shown) == odd
    assert path_of(shown_path(os.fsencode(folder / "06.png"))) == folder / "06.png"


def test_deep_images_take_the_range_of_the_format(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    grey = random_images(1)[0, 0].numpy()
    Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / "scans" / "deep.png")
    listed = list_files(str(tmp_path / "scans"))
    with_range: ImageFormat = judge.image_format.model_copy(update={"range": (0, 4080)})
    scored = score_files(FileScorer(judge, listed, with_range, 8, 0, 10**6), parts_beside(tmp_path / "scans"))
    (judged,) = judge.judged([torch.from_numpy(grey)[None, None] // 16])
    assert scored[columns.CONTENT].tolist() == judged.content_hashes.tolist()


def test_findings_are_of_the_listed_files_alone(judge: Judge, folder: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((8, 8, 4), 100, dtype=np.uint8)).save(folder / name)
    assert findings_of(score(judge, folder)) == Findings(transparent=2)
    Image.fromarray(np.full((8, 8, 4), 90, dtype=np.uint8)).save(folder / "a.png")
    assert findings_of(score(judge, folder)) == Findings(transparent=2)
    (folder / "b.png").unlink()
    assert findings_of(score(judge, folder)) == Findings(transparent=1)


def test_batches_are_fixed_ranges_of_the_list(judge: Judge, folder: Path) -> None:
    to_do = np.array([1, 2, 9, 10, 11, 12, 30])
    found = [rows.tolist() for rows, _ in scorer(judge, list_files(str(folder)), 4).scored(to_do)]
    assert sorted(found) == [[1, 2], [9, 10], [11], [12], [30]]  # 11 cannot be read
