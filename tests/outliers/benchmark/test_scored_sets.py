"""Stored scores of sets: found again by the same command, never by another, and never half-written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.benchmark.changed_images import ChangedImages
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from glow_pipeline.outliers.benchmark.scored_sets import ScoredSets, code_digest, store_set
from glow_pipeline.outliers.scores.nll import NegativeLogLikelihood
from tests.conftest import MakeTable, random_images
from tests.outliers.toy_scores import Brightness


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(6), 8)


def test_path_depends_on_command_and_images(table: ImageTable, tmp_path: Path) -> None:
    scored = ScoredSets(tmp_path, "v1", {"seed": 0, "detector": {"sha256": "a"}})
    paths = [
        scored.path("tiny", table),
        scored.path("tiny", table.subset(np.arange(5))),
        scored.path("tiny", table.subset(np.array([1, 0, 2, 3, 4, 5]))),
        scored.path("tiny", ChangedImages(table, CHANGES["blur"], 0)),
        ScoredSets(tmp_path, "v1", {"seed": 1, "detector": {"sha256": "a"}}).path("tiny", table),
        ScoredSets(tmp_path, "v1", {"seed": 0, "detector": {"sha256": "b"}}).path("tiny", table),
    ]
    assert len(set(paths)) == len(paths)


def test_stored_set_is_complete_or_absent(tmp_path: Path) -> None:
    path = ScoredSets(tmp_path, "v1", {}).parts.with_name("tiny.parquet")
    store_set(path, pd.DataFrame({"nll": [1.5, np.inf]}))
    assert pd.read_parquet(path)["nll"].tolist() == [1.5, np.inf]
    with pytest.raises(AttributeError):
        store_set(path.with_name("other.parquet"), None)  # type: ignore[arg-type]
    assert [file.name for file in path.parent.iterdir()] == ["tiny.parquet"]


def test_digest_covers_a_users_own_score() -> None:
    package, again = code_digest([]), code_digest([NegativeLogLikelihood()])
    assert package == again, "its file is the package's"
    assert code_digest([Brightness()]) != package
