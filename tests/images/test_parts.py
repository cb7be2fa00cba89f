from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images import parts as parts_module
from glow_pipeline.images import rows as rows_module
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.parts import CalibrationImages, Parts, count_copies, split_parts
from glow_pipeline.images.rows import as_array
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.split_by_content import draw_by_content
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_files import CONTENT, RECORD
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.randomness import generator
from tests.conftest import MakeSource, MakeTable, random_images
from tests.images.test_table import IMAGE_FORMAT, noise, written

Rows = tuple[list[int], list[int], list[int]]


def rows(parts: Parts) -> Rows:
    """Return the rows to fit, of validation and of calibration."""
    return list(parts.fit.rows), list(parts.validation.rows), list(parts.calibration.table.rows)


def of_folder(folder: Path, images: NDArray[np.uint8]) -> ImageTable:
    """Return a table of a folder's images, written by hand."""
    folder.mkdir()
    table = written(folder, images)
    np.save(folder / CONTENT, content_hash(torch.from_numpy(images)).numpy())
    image_selection = ImageSelection.of_folder("/data/cats", None, 10.0, 0)
    (folder / RECORD).write_text(table.record.model_copy(update={"image_selection": image_selection}).model_dump_json())
    return ImageTable(folder)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageTable]:
    """Tables of 60 images: without a validation split, with one of 15, and of a folder with 20 copies."""
    root, images = tmp_path_factory.mktemp("tables"), noise(60)
    for name in ("drawn", "own"):
        (root / name).mkdir()
    return {
        "drawn": written(root / "drawn", images),
        "own": written(root / "own", images, own_validation=15),
        "folder": of_folder(root / "folder", np.concatenate([images[:40], images[:20]])),
    }


# Percentages of validation and of calibration whose sum is below 100.
PERCENTAGES = st.tuples(st.floats(0.01, 99.9), st.floats(0, 99.9)).filter(lambda drawn: sum(drawn) < 100)
SOURCES = ("drawn", "own", "folder")


# Every source ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@given(percentages=PERCENTAGES, seed=st.integers(0, 2**31), count=st.integers(2, 60))
def test_parts_are_disjoint_complete_and_in_order(
    tables: dict[str, ImageTable], source: str, percentages: tuple[float, float], seed: int, count: int
) -> None:
    table = tables[source].subset(np.arange(count))
    fit, validation, calibration = rows(split_parts(table, *percentages, seed))
    assert sorted([*fit, *validation, *calibration]) == list(range(count))
    assert len(fit) >= 1
    assert len(validation) >= 1
    for part in (fit, validation, calibration):
        assert part == sorted(part)


def former_split(table: ImageTable, percentage: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the rows to fit and of validation of versions without calibration images."""
    n, n_own = len(table), table.record.own_validation
    if 0 < n_own < n:
        validates = np.arange(n) >= n - n_own
    elif table.record.image_selection.is_folder:
        validates = draw_by_content(table.content_hashes, percentage, seed, "validation")
    else:
        validates = np.zeros(n, dtype=bool)
        order = torch.randperm(n, generator=generator(seed, "validation"))
        validates[order[: min(max(1, round(n * percentage / 100)), n - 1)].numpy()] = True
    return np.flatnonzero(~validates).tolist(), np.flatnonzero(validates).tolist()


def split_at_once(table: ImageTable, percentages: tuple[float, float], seed: int) -> Rows:
    """Return the rows of the parts as versions before December 2026 computed them, with arrays of all rows."""
    n, n_own = len(table), table.record.own_validation
    (val, cal), rows = percentages, np.arange(n)
    if 0 < n_own < n:
        own = rows[n - n_own :]
        n_val = max(1, round(n_own * val / (val + cal))) if cal else n_own
        order = torch.randperm(n_own, generator=generator(seed, "calibration")).numpy() if cal else np.arange(n_own)
        validation, calibration = own[order[:n_val]], own[order[n_val:]]
    elif table.record.image_selection.is_folder:
        validates = draw_by_content(table.content_hashes, val, seed, "validation")
        held_out = draw_by_content(table.content_hashes, val + cal, seed, "validation")
        validation, calibration = rows[validates], rows[held_out & ~validates]
    else:
        n_val = min(max(1, round(n * val / 100)), n - 1)
        n_cal = min(round(n * cal / 100), n - n_val - 1)
        order = torch.randperm(n, generator=generator(seed, "validation")).numpy()
        validation, calibration = order[:n_val], order[n_val : n_val + n_cal]
    fit = np.setdiff1d(rows, np.concatenate([validation, calibration]))
    return fit.tolist(), np.sort(validation).tolist(), np.sort(calibration).tolist()


@pytest.mark.parametrize("source", SOURCES)
@given(percentages=PERCENTAGES, seed=st.integers(0, 2**31))
def test_parts_are_those_of_earlier_versions(
    tables: dict[str, ImageTable], source: str, percentages: tuple[float, float], seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (parts_module, rows_module):
            patch.setattr(module, "CHUNK", 7)
        parts = rows(split_parts(tables[source], *percentages, seed))
    assert parts == split_at_once(tables[source], percentages, seed)


@pytest.mark.parametrize("source", SOURCES)
@given(percentage=st.floats(0.01, 99.9), seed=st.integers(0, 2**31))
def test_without_calibration_the_split_is_the_former(
    tables: dict[str, ImageTable], source: str, percentage: float, seed: int
) -> None:
    table = tables[source]
    assert rows(split_parts(table, percentage, 0.0, seed)) == (*former_split(table, percentage, seed), [])


@pytest.mark.parametrize("source", ["drawn", "folder"])
@given(percentages=PERCENTAGES, seed=st.integers(0, 2**31))
def test_calibration_images_come_from_those_to_fit(
    tables: dict[str, ImageTable], source: str, percentages: tuple[float, float], seed: int
) -> None:
    table = tables[source]
    fit, validation, calibration = rows(split_parts(table, *percentages, seed))
    former_fit, former_validation = former_split(table, percentages[0], seed)
    assert validation == former_validation
    assert sorted([*fit, *calibration]) == former_fit


def test_images_of_the_parts_are_the_tables(make_table: MakeTable) -> None:
    images = random_images(12)
    parts = split_parts(make_table(images, 8), 25, 25, 0)
    for part in (parts.fit, parts.validation, parts.calibration.table):
        assert torch.equal(part[:][0], images[as_array(part.rows)])


def test_calibration_images_are_no_image_table(make_table: MakeTable) -> None:
    calibration = split_parts(make_table(random_images(12), 8), 25, 25, 0).calibration
    assert type(calibration) is CalibrationImages
    assert not isinstance(calibration, ImageTable)
    assert (len(calibration), len(calibration.table)) == (3, 3)


@pytest.mark.parametrize("own_validation", [0, 1])
def test_one_image_cannot_be_split(tmp_path: Path, own_validation: int) -> None:
    with pytest.raises(GlowPipelineError, match=r"^s: 1 image .*; give it two at least$") as raised:
        split_parts(written(tmp_path, noise(1), own_validation), 5, 5, 0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("own_validation", [0, 1])
@pytest.mark.parametrize("percentages", [(0.1, 0.0), (50, 49), (1, 98)])
def test_two_images_are_enough(tmp_path: Path, own_validation: int, percentages: tuple[float, float]) -> None:
    fit, validation, calibration = rows(split_parts(written(tmp_path, noise(2), own_validation), *percentages, 0))
    assert (len(fit), len(validation), calibration) == (1, 1, [])


# Drawn at random ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percentages", "counts"),
    [
        ((10.0, 10.0), (32, 4, 4)),
        ((25.0, 5.0), (28, 10, 2)),
        ((0.1, 0.1), (39, 1, 0)),
        ((50.0, 49.9), (1, 20, 19)),
        ((99.9, 0.0), (1, 39, 0)),
    ],
)
def test_parts_are_the_percentages(
    make_table: MakeTable, percentages: tuple[float, float], counts: tuple[int, int, int]
) -> None:
    parts = split_parts(make_table(random_images(40), 8), *percentages, 0)
    assert (len(parts.fit), len(parts.validation), len(parts.calibration)) == counts


def test_held_out_images_are_drawn_by_the_seed(make_table: MakeTable) -> None:
    table = make_table(random_images(40), 8)
    for part in (1, 2):
        drawn = [tuple(rows(split_parts(table, 25, 25, seed))[part]) for seed in (0, 1, 2, 0)]
        assert len(set(drawn[:3])) == 3
        assert drawn[3] == drawn[0]


def test_held_out_images_come_from_everywhere(make_table: MakeTable) -> None:
    table = make_table(random_images(40), 8)
    splits = [rows(split_parts(table, 25, 25, seed)) for seed in range(200)]
    for part in (1, 2):
        drawn = np.bincount(np.concatenate([split[part] for split in splits]), minlength=40)
        assert drawn.min() > 25  # 50 are expected, with a standard deviation of 6.1
        assert drawn.max() < 75


# A source's own validation split -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("own_validation", "percentages", "n_validation"),
    [(1, (5, 5), 1), (2, (5, 5), 1), (8, (5, 5), 4), (8, (15, 5), 6), (8, (1, 98), 1), (8, (5, 0), 8), (11, (5, 5), 6)],
)
def test_own_validation_is_divided_in_the_ratio(
    tmp_path: Path, own_validation: int, percentages: tuple[float, float], n_validation: int
) -> None:
    table = written(tmp_path, noise(12), own_validation)
    for seed in (0, 1):
        fit, validation, calibration = rows(split_parts(table, *percentages, seed))
        assert fit == list(range(12 - own_validation))
        assert len(validation) == n_validation
        assert sorted([*validation, *calibration]) == list(range(12 - own_validation, 12))


def test_own_validation_is_divided_by_the_seed(tables: dict[str, ImageTable]) -> None:
    drawn = [tuple(rows(split_parts(tables["own"], 5, 5, seed))[1]) for seed in (0, 1, 2, 0)]
    assert len(set(drawn[:3])) == 3
    assert drawn[3] == drawn[0]


def test_own_validation_split_follows_the_classes(make_source: MakeSource, tmp_path: Path) -> None:
    make_source(random_images(20), own_validation=8)
    plan_table(ImageSelection.of("tiny", [1]), "train", IMAGE_FORMAT, tmp_path).write(tmp_path / "table")
    fit, validation, calibration = rows(split_parts(ImageTable(tmp_path / "table"), 10, 5, 0))
    assert len(fit) == 4  # rows 1, 4, 7, 10, and the own ones 13, 16, 19
    assert (len(validation), len(calibration)) == (2, 1)


def test_table_of_validation_images_alone_is_split(tmp_path: Path) -> None:
    """As with chosen classes that occur in the validation split alone."""
    split = rows(split_parts(written(tmp_path, noise(12), own_validation=12), 25, 25, 0))
    assert [len(part) for part in split] == [6, 3, 3]


# Folders -----------------------------------------------------------------------------------------


def test_image_keeps_its_part_when_others_are_added(tmp_path: Path) -> None:
    many = noise(200)
    all_of_them = rows(split_parts(of_folder(tmp_path / "many", many), 25, 15, 0))
    few = rows(split_parts(of_folder(tmp_path / "few", many[50:130]), 25, 15, 0))
    for part, within in zip(few, all_of_them, strict=True):
        assert {row + 50 for row in part} <= set(within)
    assert 30 < len(all_of_them[1]) < 70
    assert 15 < len(all_of_them[2]) < 45


@given(percentages=PERCENTAGES, seed=st.integers(0, 2**31))
def test_copies_are_in_one_part(tables: dict[str, ImageTable], percentages: tuple[float, float], seed: int) -> None:
    parts = split_parts(tables["folder"], *percentages, seed)
    fit, validation, calibration = ({row % 40 for row in part} for part in rows(parts))
    assert not (fit & validation | fit & calibration | validation & calibration)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_small_folder_has_validation_images(tmp_path: Path, count: int) -> None:
    fit, validation, calibration = rows(split_parts(of_folder(tmp_path / "table", noise(count)), 1e-9, 1e-9, 0))
    assert (len(fit), len(validation), len(calibration)) == (count - 1, 1, 0)


def test_copies_of_one_image_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GlowPipelineError, match=r"^folder_cats: its 3 images are copies of one"):
        split_parts(of_folder(tmp_path / "table", np.tile(noise(1), (3, 1, 1, 1))), 25, 25, 0)


# Exact copies ------------------------------------------------------------------------------------


def test_copies_are_counted_by_part(make_table: MakeTable) -> None:
    a, b, c, d, e = random_images(5).unsqueeze(1)
    table = make_table(torch.cat([a, a, b, a, b, b, c, d]), 8)
    test = make_table(torch.cat([a, d, d, e]), 8)
    parts = Parts(
        fit=table.subset(np.arange(3)),  # a a b
        validation=table.subset(np.arange(3, 5)),  # a b
        calibration=CalibrationImages(table.subset(np.arange(5, 8))),  # b c d
    )
    assert count_copies(parts, test).model_dump() == {
        "train_copies": 3,
        "val_copies_of_fit": 2,
        "calibration_copies_of_train": 1,
        "test_copies_of_train": 3,
    }


def test_copies_are_counted_without_calibration_images(tmp_path: Path) -> None:
    table = of_folder(tmp_path / "table", np.tile(noise(40), (2, 1, 1, 1)))
    parts = split_parts(table, 25, 0, 3)
    assert count_copies(parts, parts.validation).model_dump() == {
        "train_copies": 40,
        "val_copies_of_fit": 0,
        "calibration_copies_of_train": 0,
        "test_copies_of_train": len(parts.validation),
    }
