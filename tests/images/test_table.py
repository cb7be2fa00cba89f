import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glow_pipeline.files import sha256
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import IMAGES, LABELS, RECORD, ImageTable, TableRecord, draw_validation, plan_table
from glow_pipeline.randomness import generator
from tests.conftest import MakeSource, MakeTable, random_images

SPEC = ImageSpec(channels=1, height=4, width=6, n_bits=3, fit="resize")


def test_a_written_table_gives_the_prepared_images_and_labels(make_source: MakeSource, tmp_path: Path) -> None:
    images = random_images(23, 3, (10, 9))
    plan_table(make_source(images, chunk=10), "train", SPEC, tmp_path).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert len(table) == 23
    got, labels = table[:]
    assert got.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(got, prepare(images, SPEC))
    assert torch.equal(labels, torch.arange(23) % 3)


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_sources_of_any_size_and_colour_come_to_one_spec_by_one_path(
    make_source: MakeSource, tmp_path: Path, fit: str
) -> None:
    spec = ImageSpec.model_validate({**SPEC.model_dump(), "fit": fit})
    inside, outside = random_images(5, 1, (28, 28)), random_images(5, 3, (8, 17))
    for name, images in (("inside", inside), ("outside", outside)):
        plan_table(make_source(images, name=name), "test", spec, tmp_path).write(tmp_path / name)
        table = ImageTable(tmp_path / name)
        assert table.record.spec == spec
        assert torch.equal(table[:][0], prepare(images, spec))


def test_the_record_says_what_the_table_is(make_source: MakeSource, tmp_path: Path) -> None:
    plan = plan_table(make_source(random_images(3)), "test", SPEC, tmp_path)
    plan.write(tmp_path / "table")
    record = ImageTable(tmp_path / "table").record
    assert record == plan.record
    assert (record.source, record.split, record.count, record.num_classes) == ("tiny", "test", 3, 3)
    assert record.spec == SPEC
    assert record.source_files == {"tiny.bin": sha256(tmp_path / "raw" / "tiny.bin")}


def test_records_are_equal_when_the_tables_would_be(make_source: MakeSource, tmp_path: Path) -> None:
    def record(content: bytes = b"one", split: str = "train", n_bits: int = 3, fit: str = "resize") -> TableRecord:
        spec = ImageSpec.model_validate({**SPEC.model_dump(), "n_bits": n_bits, "fit": fit})
        source = make_source(random_images(3), content=content)
        return plan_table(source, "train" if split == "train" else "test", spec, tmp_path).record

    assert record() == record()
    others = [record(content=b"two"), record(split="test"), record(n_bits=2), record(fit="pad")]
    assert all(other != record() for other in others)


def test_two_tables_with_equal_records_hold_the_same_bytes(make_source: MakeSource, tmp_path: Path) -> None:
    for name in ("a", "b"):
        plan_table(make_source(random_images(13)), "train", SPEC, tmp_path).write(tmp_path / name)
    for file in (IMAGES, LABELS, RECORD):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize(
    "count",
    [
        22,
        24,
    ],
)
def test_a_wrong_count_is_an_error(make_source: MakeSource, tmp_path: Path, count: int) -> None:
    plan = plan_table(make_source(random_images(23), count=count), "train", SPEC, tmp_path)
    with pytest.raises(ValueError, match=f"tiny train: {count} images were expected"):
        plan.write(tmp_path / "table")


def test_planning_decodes_nothing(make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an image was prepared")

    monkeypatch.setattr("glow_pipeline.images.table.prepare", refuse)
    plan = plan_table(make_source(random_images(3)), "train", SPEC, tmp_path)
    assert plan.record.count == 3
    with pytest.raises(AssertionError, match="prepared"):
        plan.write(tmp_path / "table")


def test_opening_a_table_reads_no_pixel(make_table: MakeTable) -> None:
    folder = make_table(random_images(5), 8).folder
    for file in (IMAGES, LABELS):
        (folder / file).unlink()
    table = ImageTable(folder)
    assert (len(table), len(table.subset(np.array([1, 2])))) == (5, 2)
    assert repr(table) == "ImageTable(tiny train, 5 images 1x8x8_8bit_resize)"
    with pytest.raises(FileNotFoundError):
        table[:1]


def test_pixels_stay_in_the_file_until_they_are_asked_for(make_table: MakeTable) -> None:
    table = make_table(random_images(5), 8)
    table[:1]
    assert isinstance(table._images, np.memmap)
    assert not table._images.flags.writeable


def test_images_that_were_handed_out_can_be_changed_without_changing_the_table(make_table: MakeTable) -> None:
    images = random_images(5)
    table = make_table(images, 8)
    got, labels = table[1:3]
    got.zero_()
    labels.zero_()
    assert torch.equal(table[:][0], images)
    assert table[:][1].tolist() == [0, 1, 2, 0, 1]


@given(st.lists(st.integers(0, 9), max_size=12), st.data())
def test_a_subset_is_a_view_of_its_rows_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("subset")
    images = np.random.default_rng(0).integers(0, 256, (10, 1, 2, 2), dtype=np.uint8)
    spec = ImageSpec(channels=1, height=2, width=2, n_bits=8, fit="resize")
    np.save(folder / IMAGES, images)
    np.save(folder / LABELS, np.arange(10))
    record = TableRecord(source="s", split="train", spec=spec, count=10, num_classes=10, source_files={}, made_with={})
    (folder / RECORD).write_text(record.model_dump_json())
    within = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5) if rows else st.just([]))
    wanted = np.array(rows, dtype=np.int64)
    subset = ImageTable(folder).subset(wanted)
    assert np.array_equal(subset[:][0].numpy(), images[wanted])
    assert subset[:][1].tolist() == rows
    again = subset.subset(np.array(within, dtype=np.int64))
    assert again[:][1].tolist() == [rows[i] for i in within]


def test_a_pickle_carries_no_pixels_and_gives_the_same_table(make_table: MakeTable) -> None:
    images = random_images(200, 1, (32, 32))
    table = make_table(images, 8).subset(np.array([7, 3, 100]))
    table[:]  # the memory map is open
    pickled = pickle.dumps(table)
    assert len(pickled) < 4096 < images.numel()
    again = pickle.loads(pickled)
    assert again.record == table.record
    assert torch.equal(again[:][0], images[[7, 3, 100]])
    assert torch.equal(again[:][1], table[:][1])


# Validation -----------------------------------------------------------------------------------


def rows(table: ImageTable, percentage: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    fit, val = draw_validation(table, percentage, generator(seed, "validation"))
    return fit.rows, val.rows


@pytest.mark.parametrize(("percentage", "n_val"), [(10.0, 4), (25.0, 10), (0.1, 1), (50.0, 20)])
def test_validation_images_are_that_share_disjoint_and_the_rest_is_kept(
    make_table: MakeTable, percentage: float, n_val: int
) -> None:
    fit, val = rows(make_table(random_images(40), 8), percentage, 0)
    assert len(val) == n_val
    assert sorted([*fit, *val]) == list(range(40))
    assert list(fit) == sorted(fit)
    assert list(val) == sorted(val)


def test_validation_images_are_drawn_by_the_seed_alone(make_table: MakeTable) -> None:
    table = make_table(random_images(40), 8)
    drawn = [tuple(rows(table, 25, seed)[1]) for seed in (0, 1, 2)]
    assert len(set(drawn)) == 3
    assert [tuple(rows(table, 25, seed)[1]) for seed in (0, 1, 2)] == drawn


def test_validation_images_come_from_all_over_the_table(make_table: MakeTable) -> None:
    table = make_table(random_images(40), 8)
    drawn = np.bincount(np.concatenate([rows(table, 25, seed)[1] for seed in range(200)]), minlength=40)
    assert drawn.min() > 25  # 50 are expected, with a standard deviation of 6.1
    assert drawn.max() < 75


def test_validation_is_of_the_same_images_as_the_table(make_table: MakeTable) -> None:
    images = random_images(12)
    fit, val = draw_validation(make_table(images, 8), 25, generator(0, "validation"))
    assert torch.equal(fit[:][0], images[fit.rows])
    assert torch.equal(val[:][0], images[val.rows])
