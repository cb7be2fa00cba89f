"""Image tables in a bucket."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import ImageTableDataset, ImageTablesDataset
from glow_pipeline.datasets.places import COPIES
from glow_pipeline.errors import GlowPipelineError, HelperFinished
from glow_pipeline.images.fetched import fetch_images
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.staging import stage_table
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import TableWriter, plan_table
from glow_pipeline.stores import BucketStore
from glow_pipeline.workers.choice import Workers
from tests.conftest import MakeSource, random_images
from tests.datasets.tiny_tables import IMAGES_IN, SMALL, not_decodable, version
from tests.s3_server import TestBucket


@pytest.fixture
def plan(make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableWriter:
    monkeypatch.chdir(tmp_path)
    return plan_table(make_source(IMAGES_IN), "train", SMALL, tmp_path)


def dataset(bucket: TestBucket, day: int, workers: Workers | None = None) -> ImageTableDataset:
    entry = ImageTableDataset(filepath=f"{bucket.address}/t/tiny/train", version=Version(None, version(day)))
    entry.identify(SMALL)
    entry.workers = workers or Workers(part_images=2)
    return entry


def store(bucket: TestBucket, plan: TableWriter, part_images: int) -> BucketStore:
    place = dataset(bucket, 1)._in_bucket()
    return place.parts(plan.origin, part_images)


def content(table: ImageTable) -> tuple[bytes, bytes, bytes]:
    return table[:][0].numpy().tobytes(), table.labels.numpy().tobytes(), table.content_hashes.tobytes()


def other_machine() -> None:
    shutil.rmtree(COPIES, ignore_errors=True)


def test_table_is_read_on_another_machine(plan: TableWriter, bucket: TestBucket) -> None:
    assert not dataset(bucket, 1).exists()
    dataset(bucket, 1).save(plan)
    other_machine()
    later = dataset(bucket, 2)
    assert later.exists()
    assert later.list_versions(full_path=False) == [version(1)]
    table = later.load()
    assert table.record.origin == plan.origin
    assert torch.equal(table[:][0], prepare(IMAGES_IN, SMALL))


@pytest.mark.parametrize("part_images", [None, 1, 4])
def test_bytes_are_those_of_a_local_table(plan: TableWriter, bucket: TestBucket, part_images: int | None) -> None:
    plan.write(Path("local"))
    dataset(bucket, 1, Workers(part_images=part_images)).save(plan)
    assert content(dataset(bucket, 2).load()) == content(ImageTable(Path("local")))


def test_equal_origin_is_not_decoded_again(plan: TableWriter, bucket: TestBucket) -> None:
    dataset(bucket, 1).save(plan)
    before = set(bucket.objects)
    dataset(bucket, 2, Workers(part_images=3)).save(not_decodable(plan))
    assert set(bucket.objects) - before == {f"t/tiny/{SMALL.key}/train/{version(2)}/train/table.json"}
    assert content(dataset(bucket, 3).load()) == content(dataset(bucket, 1).load())


def test_files_of_images_come_when_they_are_read(plan: TableWriter, bucket: TestBucket) -> None:
    dataset(bucket, 1).save(plan)
    table = dataset(bucket, 2).load()
    assert table.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert not list(table.folder.glob("images-*"))
    table.subset(np.array([3]))[:]
    assert [path.name for path in table.folder.glob("images-*")] == ["images-00001.npy"]
    bucket.server.forget()
    assert torch.equal(dataset(bucket, 2).load()[2:4][0], prepare(IMAGES_IN, SMALL)[2:4])
    assert bucket.server.requests["get"] == 1  # of the version


def test_version_of_a_table_removed_meanwhile_is_none(plan: TableWriter, bucket: TestBucket) -> None:
    dataset(bucket, 1).save(plan)
    (record,) = [key for key in bucket.objects if "/by-origin/" in key and key.endswith(f"{plan.origin.digest()}.json")]

    def remove_meanwhile(kind: str, key: str, count: int) -> None:
        if kind == "put" and version(2) in key:
            bucket.server.objects[bucket.name].pop(record, None)

    bucket.server.failure = remove_meanwhile
    with pytest.raises(DatasetError, match="were removed meanwhile"):
        dataset(bucket, 2).save(plan)
    assert not [key for key in bucket.objects if version(2) in key]


def test_parts_removed_meanwhile_make_no_table(plan: TableWriter, bucket: TestBucket) -> None:
    def remove_meanwhile(kind: str, key: str, count: int) -> None:
        if kind == "put" and key.endswith("labels.npy"):
            for name in [name for name in bucket.objects if name.endswith("/00000.json")]:
                del bucket.server.objects[bucket.name][name]

    bucket.server.failure = remove_meanwhile
    with pytest.raises(DatasetError, match="parts were removed while the table was made"):
        dataset(bucket, 1).save(plan)
    bucket.server.forget()
    dataset(bucket, 2).save(plan)
    assert content(dataset(bucket, 3).load())[0] == prepare(IMAGES_IN, SMALL).numpy().tobytes()


def test_requests_grow_with_the_parts_alone(make_source: MakeSource, bucket: TestBucket, tmp_path: Path) -> None:
    costs = []
    for count in (4, 8):
        plan = plan_table(make_source(random_images(6 * count, seed=count)), "train", SMALL, tmp_path)
        bucket.server.forget()
        dataset(bucket, count, Workers(part_images=6)).save(plan)
        dataset(bucket, 9).load()[:]
        costs.append(bucket.server.asked)
    assert costs[1] - costs[0] <= 4 * 12  # three files of a part are written, and read once or twice


def test_interrupted_table_keeps_its_parts(plan: TableWriter, bucket: TestBucket) -> None:
    bucket.server.failure = lambda kind, key, count: 403 if key.endswith("00002.json") else None
    with pytest.raises(DatasetError, match="ACCESS_DENIED"):
        dataset(bucket, 1).save(plan)
    assert not dataset(bucket, 1).exists()
    assert {"00000.json", "00001.json"} < store(bucket, plan, 2).names()
    bucket.server.forget()
    dataset(bucket, 2).save(plan)
    assert not any(key.endswith("images-00000.npy") for key in bucket.server.written)
    assert torch.equal(dataset(bucket, 3).load()[:][0], prepare(IMAGES_IN, SMALL))


def test_commands_share_a_table(plan: TableWriter, bucket: TestBucket, bare: pytest.MonkeyPatch) -> None:
    workers = Workers(engine="array", of=2, part_images=2)
    bare.setenv("NODE_RANK", "0")
    first = dataset(bucket, 1, workers)
    first.save(plan)
    assert first.pending is not None
    assert "missing: part 1." in first.pending
    with pytest.raises(DatasetError) as ended:
        first.load()
    assert isinstance(ended.value.__cause__, HelperFinished)
    bare.setenv("NODE_RANK", "1")
    dataset(bucket, 2, workers).save(plan)
    assert torch.equal(dataset(bucket, 3).load()[:][0], prepare(IMAGES_IN, SMALL))
    assert not any("made-with" in key for key in bucket.objects)


def test_damaged_file_of_images_is_refused(plan: TableWriter, bucket: TestBucket) -> None:
    dataset(bucket, 1).save(plan)
    table = dataset(bucket, 2).load()
    (key,) = [key for key in bucket.objects if key.endswith("images-00001.npy")]
    bucket.server.objects[bucket.name][key] = b"other"
    with pytest.raises(GlowPipelineError, match=r"images-00001.npy is not as it was when the table was made"):
        table[:]
    assert not (table.folder / "images-00001.npy").exists()


def test_training_copies_a_table_once(plan: TableWriter, bucket: TestBucket, tmp_path: Path) -> None:
    dataset(bucket, 1).save(plan)
    table = dataset(bucket, 2).load()
    assert table.store is not None
    staged = ImageTable(stage_table(table, tmp_path / "stage"))
    assert not list(table.folder.glob("images-*"))
    assert not list(staged.folder.glob("rows-*"))
    assert content(staged) == content(table)


def test_fetch_copies_all_files_of_images(plan: TableWriter, bucket: TestBucket) -> None:
    dataset(bucket, 1).save(plan)
    table = dataset(bucket, 2).load()
    table.subset(np.array([0])).fetch()
    assert len(list(table.folder.glob("images-*"))) == 3
    bucket.server.forget()
    table[:]
    assert bucket.server.asked == 0


def test_view_of_a_table_pickles_with_its_store(plan: TableWriter, bucket: TestBucket) -> None:
    dataset(bucket, 1).save(plan)
    view = pickle.loads(pickle.dumps(dataset(bucket, 2).load().subset(np.array([5, 0]))))
    assert torch.equal(view[:][0], prepare(IMAGES_IN, SMALL)[[5, 0]])


def test_tables_of_a_benchmark_are_in_the_bucket(plan: TableWriter, bucket: TestBucket) -> None:
    tables = ImageTablesDataset(filepath=f"{bucket.address}/t", version=Version(None, version(1)))
    tables.save({"one": plan})
    assert torch.equal(tables.load()["one"][:][0], prepare(IMAGES_IN, SMALL))
    assert any(key.endswith(f"/train/{version(1)}/train/table.json") for key in bucket.objects)


def test_present_file_of_images_is_not_fetched(bucket: TestBucket, tmp_path: Path) -> None:
    (tmp_path / "images.npy").write_bytes(b"there")
    fetch_images(BucketStore(dataset(bucket, 1)._in_bucket().address), "tiny train", tmp_path / "images.npy")
    assert bucket.server.asked == 0
