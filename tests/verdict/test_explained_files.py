"""Explanations of files: those of the judge, in the order of the table, whatever the batches are."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from glow_pipeline.density import modelled_batches
from glow_pipeline.images.batches import Batch
from glow_pipeline.images.content import content_hash
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.explained_files import FileExplainer
from glow_pipeline.verdict.judge import Judge
from tests.conftest import jittered_glow, model_record, random_images

N = 7


@pytest.fixture(scope="module")
def judge() -> Judge:
    flow = jittered_glow()
    batch = Batch(random_images(20, seed=9) // 16, torch.zeros(20, dtype=torch.int64))
    traced = list(modelled_batches(flow, [batch], 0, None, traces=True))
    detector = Detector(
        {},
        {"nll": np.arange(20.0)},
        DetectorRecord(model_sha256=weights_sha256(flow.state_dict()), codecs=codec_versions()),
        heat_map=HeatMap().fit(traced).calibrate(traced),
        kept_images=batch.images.numpy(),
    )
    return Judge(TrainedGlow(flow, model_record()), detector, torch.device("cpu"), ["nll"])


@pytest.fixture
def scored(tmp_path: Path) -> pd.DataFrame:
    """The table of seven images and, at its end, of a file that is none."""
    files = [tmp_path / f"{i}.png" for i in (3, 1, 0, 2, 6, 5, 4)]
    for file in files:
        Image.fromarray(random_images(N)[int(file.stem), 0].numpy()).save(file)
    names = [str(file) for file in [*files, tmp_path / "none.png"]]
    return pd.DataFrame(
        {columns.FILE: names, columns.UNREADABLE: pd.array([*([None] * N), "not an image"], dtype="string")}
    )


def explainer(judge: Judge | None, scored: pd.DataFrame, batch_size: int = 3) -> FileExplainer:
    return FileExplainer(judge, scored, model_record().image_format, batch_size, num_workers=0, max_pixels=10**6)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_files_are_explained_in_table_order(judge: Judge, scored: pd.DataFrame, batch_size: int) -> None:
    shown = list(explainer(judge, scored, batch_size).explained(100))
    assert [image.row for image in shown] == list(range(N))
    images = (random_images(N) // 16)[[3, 1, 0, 2, 6, 5, 4]]
    for image, expected, explanation in zip(shown, images, judge.explained(images), strict=True):
        assert np.array_equal(image.image, expected)
        assert image.explanation is not None
        assert image.explanation.surprise == pytest.approx(explanation.surprise, abs=1e-3)
        assert np.array_equal(image.explanation.nearest, explanation.nearest)


def test_most_suspicious_alone_are_read(judge: Judge, scored: pd.DataFrame) -> None:
    Path(scored[columns.FILE].iloc[3]).unlink()
    assert [image.row for image in explainer(judge, scored).explained(3)] == [0, 1, 2]


def test_deleted_file_is_left_out_with_warning(
    judge: Judge, scored: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Path(scored[columns.FILE].iloc[1])
    gone.unlink()
    with caplog.at_level(logging.WARNING):
        assert [image.row for image in explainer(judge, scored).explained(4)] == [0, 2, 3]
    (line,) = caplog.messages
    assert str(gone) in line
    assert "No such file" in line


def test_changed_file_is_left_out_with_warning(scored: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    files = scored[columns.FILE].tolist()
    contents = dict(zip(files, content_hash((random_images(N) // 16)[[3, 1, 0, 2, 6, 5, 4]]).tolist(), strict=False))
    shutil.copy(files[0], files[1])
    shown = replace(explainer(None, scored), scored_contents=contents).explained(3)
    assert [image.row for image in shown] == [0, 2]
    assert caplog.messages == [f"{files[1]}: is not shown, it has changed since it was scored"]


def test_without_a_judge_images_have_no_explanation(scored: pd.DataFrame) -> None:
    shown = list(explainer(None, scored).explained(2))
    assert [image.explanation for image in shown] == [None, None]


def test_list_without_readable_file_shows_nothing(judge: Judge, scored: pd.DataFrame) -> None:
    assert list(explainer(judge, scored.iloc[N:]).explained(5)) == []
