from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import ImageTableDataset
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.source import Chunk
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import IMAGES, LABELS, RECORD, PlannedTable, plan_table
from tests.conftest import MakeSource, random_images

SMALL = ImageSpec(channels=1, height=4, width=4, n_bits=8, fit="resize")
LARGE = ImageSpec(channels=3, height=8, width=8, n_bits=5, fit="pad")
IMAGES_IN = random_images(6)


def version(day: int) -> str:
    return f"2026-01-{day:02}T00.00.00.000Z"


def dataset(folder: Path, day: int, spec: ImageSpec = SMALL) -> ImageTableDataset:
    """The catalog's entry in the run of that day."""
    entry = ImageTableDataset(filepath=str(folder / "tiny" / "train"), version=Version(None, version(day)))
    entry.identify(spec)
    return entry


def folder_of(folder: Path, day: int, spec: ImageSpec = SMALL) -> Path:
    return folder / "tiny" / spec.key / "train" / version(day) / "train"


@pytest.fixture
def plan(make_source: MakeSource, tmp_path: Path) -> PlannedTable:
    return plan_table(make_source(IMAGES_IN), "train", SMALL, tmp_path)


def not_decodable(plan: PlannedTable) -> PlannedTable:
    def refuse() -> Iterator[Chunk]:
        raise AssertionError("the table was decoded again")

    return PlannedTable(plan.record, refuse)


def test_a_saved_plan_is_loaded_as_a_table(plan: PlannedTable, tmp_path: Path) -> None:
    entry = dataset(tmp_path, 1)
    assert not entry.exists()
    entry.save(plan)
    assert entry.exists()
    table = entry.load()
    assert table.folder == folder_of(tmp_path, 1)
    assert table.record == plan.record
    assert torch.equal(table[:][0], prepare(IMAGES_IN, SMALL))


def test_a_table_with_the_same_record_is_not_decoded_again_but_linked(plan: PlannedTable, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(not_decodable(plan))
    first, second = folder_of(tmp_path, 1), folder_of(tmp_path, 2)
    assert sorted(file.name for file in second.iterdir()) == sorted([IMAGES, LABELS, RECORD])
    for file in second.iterdir():
        assert file.stat().st_ino == (first / file.name).stat().st_ino
    assert dataset(tmp_path, 3).load().folder == second


def test_a_linked_table_outlives_the_first(plan: PlannedTable, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(plan)
    for file in folder_of(tmp_path, 1).iterdir():
        file.unlink()
    assert torch.equal(dataset(tmp_path, 2).load()[:][0], prepare(IMAGES_IN, SMALL))


def test_a_changed_source_is_decoded_anew(plan: PlannedTable, make_source: MakeSource, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    changed = random_images(6, seed=1)
    dataset(tmp_path, 2).save(plan_table(make_source(changed, content=b"two"), "train", SMALL, tmp_path))
    assert torch.equal(dataset(tmp_path, 3).load()[:][0], prepare(changed, SMALL))
    assert not folder_of(tmp_path, 2).joinpath(IMAGES).samefile(folder_of(tmp_path, 1) / IMAGES)


def test_two_specs_never_share_a_version(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source(IMAGES_IN)
    dataset(tmp_path, 1, SMALL).save(plan_table(source, "train", SMALL, tmp_path))
    assert not dataset(tmp_path, 2, LARGE).exists()
    dataset(tmp_path, 2, LARGE).save(plan_table(source, "train", LARGE, tmp_path))
    assert dataset(tmp_path, 3, SMALL).load().record.spec == SMALL
    assert dataset(tmp_path, 3, LARGE).load().record.spec == LARGE


def test_every_part_of_a_spec_is_in_its_folder() -> None:
    specs = [SMALL] + [
        ImageSpec.model_validate({**SMALL.model_dump(), **other})
        for other in ({"channels": 3}, {"height": 8}, {"width": 8}, {"n_bits": 5}, {"fit": "pad"})
    ]
    assert len({spec.key for spec in specs}) == len(specs)


def test_identifying_anew_looks_into_another_folder_for_its_own_newest_version(
    make_source: MakeSource, tmp_path: Path
) -> None:
    source = make_source(IMAGES_IN)
    dataset(tmp_path, 1, SMALL).save(plan_table(source, "train", SMALL, tmp_path))
    dataset(tmp_path, 2, LARGE).save(plan_table(source, "train", LARGE, tmp_path))
    entry = dataset(tmp_path, 3, SMALL)
    assert entry.load().folder == folder_of(tmp_path, 1, SMALL)
    entry.identify(LARGE)
    assert entry.load().folder == folder_of(tmp_path, 2, LARGE)
    entry.identify(SMALL.model_copy(update={"n_bits": 1}))
    assert not entry.exists()


def test_a_table_that_was_cut_off_is_no_version(plan: PlannedTable, tmp_path: Path) -> None:
    def half() -> Iterator[Chunk]:
        yield Chunk(IMAGES_IN[:3], torch.zeros(3, dtype=torch.int64))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset(tmp_path, 1).save(PlannedTable(plan.record, half))
    assert not dataset(tmp_path, 2).exists()
    assert dataset(tmp_path, 2).list_versions() == []
    assert list(folder_of(tmp_path, 1).parent.iterdir()) == []


def test_what_a_killed_process_leaves_is_no_version(plan: PlannedTable, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    remains = folder_of(tmp_path, 2).with_name(".0a1b2c3d.train")
    remains.mkdir(parents=True)
    np.save(remains / IMAGES, np.zeros(3))
    assert dataset(tmp_path, 3).load().folder == folder_of(tmp_path, 1)
    dataset(tmp_path, 3).save(not_decodable(plan))


def test_no_reader_sees_a_table_before_it_is_whole(plan: PlannedTable, tmp_path: Path) -> None:
    seen: list[bool] = []

    def watched() -> Iterator[Chunk]:
        for chunk in plan.chunks():
            seen.append(dataset(tmp_path, 2).exists())
            yield chunk

    dataset(tmp_path, 1).save(PlannedTable(plan.record, watched))
    assert seen == [False]
    assert dataset(tmp_path, 2).exists()


def test_an_older_version_can_be_asked_for(plan: PlannedTable, make_source: MakeSource, tmp_path: Path) -> None:
    dataset(tmp_path, 1).save(plan)
    dataset(tmp_path, 2).save(plan_table(make_source(IMAGES_IN, content=b"two"), "train", SMALL, tmp_path))
    old = ImageTableDataset(filepath=str(tmp_path / "tiny" / "train"), version=Version(version(1), None))
    old.identify(SMALL)
    assert old.load().record == plan.record


def test_a_table_without_a_spec_is_an_error(plan: PlannedTable, tmp_path: Path) -> None:
    entry = ImageTableDataset(filepath=str(tmp_path / "train"), version=Version(None, version(1)))
    assert not entry.exists()
    with pytest.raises(DatasetError, match="no image spec was given"):
        entry.load()
    with pytest.raises(DatasetError, match="no image spec was given"):
        entry.save(plan)


def test_files_are_copied_where_links_are_not_possible(
    plan: PlannedTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError("no links here")

    dataset(tmp_path, 1).save(plan)
    monkeypatch.setattr("os.link", refuse)
    dataset(tmp_path, 2).save(not_decodable(plan))
    assert torch.equal(dataset(tmp_path, 2).load()[:][0], prepare(IMAGES_IN, SMALL))
