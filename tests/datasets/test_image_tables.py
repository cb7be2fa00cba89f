"""Several tables in one catalog entry: each where the entry of a single table would be."""

from pathlib import Path

import pytest
import torch
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import ImageTableDataset, ImageTablesDataset
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.table_writer import plan_table
from tests.conftest import MakeSource, random_images

FORMAT = ImageFormat(channels=1, height=8, width=8, n_bits=8, fit="resize")
VERSION = "2026-01-01T00.00.00.000Z"


def entry(folder: Path, version: str = VERSION) -> ImageTablesDataset:
    return ImageTablesDataset(filepath=str(folder), version=Version(None, version))


def test_tables_are_where_single_ones_would_be(make_source: MakeSource, tmp_path: Path) -> None:
    images = random_images(3)
    writers = {name: plan_table(make_source(images, name=name), "test", FORMAT, tmp_path) for name in ("one", "two")}
    dataset = entry(tmp_path / "tables")
    dataset.save(writers)
    tables = dataset.load()
    assert list(tables) == ["one", "two"]
    assert torch.equal(tables["one"][:][0], images)
    single = ImageTableDataset(filepath=str(tmp_path / "tables" / "two" / "test"), version=Version(None, VERSION))
    single.identify(FORMAT)
    assert single.load().folder == tables["two"].folder


def test_second_version_links_the_first_ones_files(make_source: MakeSource, tmp_path: Path) -> None:
    writer = plan_table(make_source(random_images(3)), "test", FORMAT, tmp_path)
    first, second = entry(tmp_path / "tables"), entry(tmp_path / "tables", "2026-01-02T00.00.00.000Z")
    first.save({"tiny": writer})
    second.save({"tiny": writer})
    files = [dataset.load()["tiny"].folder / "images.npy" for dataset in (first, second)]
    assert files[0] != files[1]
    assert files[0].samefile(files[1])


def test_nothing_to_ingest_gives_no_tables(tmp_path: Path) -> None:
    dataset = entry(tmp_path / "tables")
    assert not dataset.exists()
    dataset.save({})
    assert dataset.exists()
    assert dataset.load() == {}


def test_tables_of_another_run_are_not_loaded(make_source: MakeSource, tmp_path: Path) -> None:
    entry(tmp_path / "tables").save({"tiny": plan_table(make_source(random_images(3)), "test", FORMAT, tmp_path)})
    later = entry(tmp_path / "tables")
    assert not later.exists()
    with pytest.raises(DatasetError, match="this run has saved no tables"):
        later.load()
