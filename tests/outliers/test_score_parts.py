"""Scores of tables in parts: the bits of one pass, however the tables are cut and whoever scores the parts."""

import pickle
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.score_parts import MOST_IMAGES, ScoreParts, Scorer
from glow_pipeline.outliers.scored_images import ScoredImages, scores_in_memory
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scoring import score_table
from glow_pipeline.stores import FolderStore, store_at
from glow_pipeline.workers.engines import finish
from glow_pipeline.workers.fingerprint import Fingerprint
from glow_pipeline.workers.part_work import Seat
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.processes import comes, fresh_processes
from tests.s3_server import TestBucket

BATCH = 4
REQUESTED = [SCORES["nll"], SCORES["input_complexity"], SCORES["last_level"]]
IN_ONE_PROCESS = Seat()
FINGERPRINT = Fingerprint("work", {}, "key")


@pytest.fixture
def tables(make_table: MakeTable) -> list[ImageTable]:
    """Tables of 22 and of 5 images, and an empty one."""
    table = make_table(random_images(22), 4)
    return [table, table.subset(np.arange(9, 14)), table.subset(np.arange(0))]


def scorer(**changed: object) -> Scorer:
    given = {"seed": 3, "draws": 2, "batch_size": BATCH, "device": "cpu", "threads": 1}
    return Scorer(jittered_glow(), REQUESTED, OtherModels(), **{**given, **changed})  # type: ignore[arg-type]


def work(tables: Sequence[ImageTable], folder: Path, part_images: int | None, scorer: Scorer) -> ScoreParts:
    stores = [FolderStore(folder / str(number)) for number in range(len(tables))]
    return ScoreParts(scorer, tables, stores, part_images, FINGERPRINT)


def in_one_pass(table: ImageTable) -> pd.DataFrame:
    values = score_table(jittered_glow(), Batches(table, BATCH, torch.device("cpu")), REQUESTED, 3, 2)
    return scores_in_memory(table, values)


def assert_bits_of_one_pass(parts: ScoreParts) -> None:
    for table, scored in zip(parts.tables, parts.scored(), strict=True):
        pd.testing.assert_frame_equal(scored.frame(), in_one_pass(table), check_exact=True)


@pytest.mark.parametrize("part_images", [1, 4, 7, 8, 20, 22, 100])
def test_parts_have_the_bits_of_one_pass(tables: list[ImageTable], tmp_path: Path, part_images: int) -> None:
    parts = work(tables, tmp_path, part_images, scorer())
    assert sum(parts.sizes) == 27
    assert finish(parts, "processes")
    assert_bits_of_one_pass(parts)


def test_order_of_parts_changes_no_bit(tables: list[ImageTable], tmp_path: Path) -> None:
    parts = work(tables, tmp_path, 4, scorer())
    for number in reversed(range(len(parts.sizes))):
        assert sum(parts.run([number], IN_ONE_PROCESS)) == parts.sizes[number]
    assert_bits_of_one_pass(parts)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [None, 2])
def test_processes_change_no_bit(tables: list[ImageTable], tmp_path: Path, threads: int | None) -> None:
    parts = work(tables, tmp_path, 4, scorer(threads=threads))
    assert finish(parts, "processes", processes=2)
    assert_bits_of_one_pass(parts)


def test_only_missing_parts_are_scored(tables: list[ImageTable], tmp_path: Path) -> None:
    interrupted = work(tables, tmp_path, 8, scorer())
    running = interrupted.run(interrupted.missing(), IN_ONE_PROCESS)
    assert [next(running) for _ in range(5)] == [4, 4, 4, 4, 4], "20 images, 16 of them in complete parts"
    del running
    again = work(tables, tmp_path, 8, scorer())
    missing = again.missing()
    assert [again.sizes[number] for number in missing] == [6, 5, 0]
    assert sum(again.run(missing, IN_ONE_PROCESS)) == 11
    assert_bits_of_one_pass(again)


def score_slowly(parts: ScoreParts) -> None:
    for _ in parts.run(parts.missing(), IN_ONE_PROCESS):
        time.sleep(0.05)


def test_killed_scoring_costs_the_part_under_way(tables: list[ImageTable], tmp_path: Path) -> None:
    parts = work(tables, tmp_path, 4, scorer())
    process = fresh_processes().Process(target=score_slowly, args=(parts,))
    process.start()
    assert comes(lambda: len(parts.missing()) <= 4, seconds=120)
    process.kill()
    process.join()
    missing = parts.missing()
    assert missing == list(range(len(parts.sizes) - len(missing), len(parts.sizes)))
    assert sum(parts.run(missing, IN_ONE_PROCESS)) == sum(parts.sizes[number] for number in missing) <= 11
    assert_bits_of_one_pass(parts)


def test_scorer_is_sent_without_shared_memory() -> None:
    sent = scorer()
    received = pickle.loads(ForkingPickler.dumps(sent))
    assert not any(tensor.is_shared() for tensor in sent.flow.state_dict().values())
    assert received.flow.state_dict().keys() == sent.flow.state_dict().keys()
    assert (received.scores, received.seed, received.draws) == (sent.scores, 3, 2)


def test_parts_of_other_sizes_do_not_mix(tables: list[ImageTable], tmp_path: Path) -> None:
    assert finish(work(tables, tmp_path, 8, scorer()), "processes")
    other = work(tables, tmp_path, 12, scorer())
    assert [other.sizes[number] for number in other.missing()] == [12, 10]
    assert finish(other, "processes")
    assert_bits_of_one_pass(other)


def test_flow_is_in_training_mode_again(tables: list[ImageTable], tmp_path: Path) -> None:
    own = scorer()
    own.flow.train()
    assert finish(work(tables, tmp_path, 4, own), "processes")
    assert own.flow.training


def test_part_of_a_larger_flow_has_fewer_images() -> None:
    large, twice = (
        replace(scorer(), flow=jittered_glow(image_shape=(3, 32, 32), K=K, hidden_channels=128)) for K in (4, 8)
    )
    assert 1000 < large.images_in_a_minute < MOST_IMAGES == scorer().images_in_a_minute
    assert twice.images_in_a_minute == large.images_in_a_minute // 2


def test_one_part_is_small(tables: list[ImageTable], tmp_path: Path) -> None:
    assert work(tables, tmp_path, None, scorer()).is_small
    assert work(tables, tmp_path, 27, scorer()).is_small
    assert not work(tables, tmp_path, 26, scorer()).is_small


def test_parts_in_a_bucket_have_the_same_bits(tables: list[ImageTable], bucket: TestBucket) -> None:
    stores = [store_at(f"{bucket.address}/scores/{number}") for number in range(len(tables))]
    parts = ScoreParts(scorer(), tables, stores, 8, FINGERPRINT)
    assert finish(parts, "processes")
    assert not parts.missing()
    assert_bits_of_one_pass(parts)


def test_columns_are_read_alone(tables: list[ImageTable], tmp_path: Path) -> None:
    parts = work(tables, tmp_path, 8, scorer())
    assert finish(parts, "processes")
    scored, whole = parts.scored()[0], in_one_pass(tables[0])
    assert isinstance(scored, ScoredImages)
    assert scored.columns == list(whole.columns)
    assert len(scored) == len(whole)
    assert [len(frame) for frame in scored.frames(["index"])] == [8, 8, 6]
    assert np.array_equal(scored.column("nll_bits_per_dim"), whole["nll_bits_per_dim"])


def test_damaged_part_is_one_line(tables: list[ImageTable], tmp_path: Path) -> None:
    parts = work(tables, tmp_path, 8, scorer())
    assert finish(parts, "processes")
    file = tmp_path / "0" / parts.parts[1].file
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[60] ^= 1  # within the first column's page
    for content in (whole[:100], flipped):
        file.write_bytes(content)
        with pytest.raises(GlowPipelineError, match="delete the file of this name") as raised:
            parts.scored()[0].frame()
        assert str(raised.value).startswith(str(file))
        assert "\n" not in str(raised.value)
    file.unlink()
    assert finish(work(tables, tmp_path, 8, scorer()), "processes")
    assert_bits_of_one_pass(parts)
