"""Images in object storage: single files, tars and parquet files, read by their ranges."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.as_typed import images_as_typed
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import check_apart, check_folder, with_class_names
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.kept_digests import KeptDigests
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from tests.images.sources.folders import put
from tests.images.sources.shards import checksum, everything, image, opened, parquet, samples, selection, tar
from tests.s3_server import TestBucket

IMAGE_FORMAT = ImageFormat(channels=1, height=4, width=4, n_bits=8, fit="resize")
NAMES = [f"{k:04}" for k in range(20)]


def stored(bucket: TestBucket) -> dict[str, bytes]:
    return bucket.server.objects[bucket.name]


def test_single_files_are_read_by_one_request_each(bucket: TestBucket) -> None:
    for name in ("b/1.png", "b/deep/2.JPG", "10/3.png", "2/4.png"):
        stored(bucket)[f"x/{name}"] = image(name)
    stored(bucket).update({"x/notes.txt": b"x", "x/.hidden/5.png": b"x", "y/6.png": b"x"})
    split = opened(selection(f"{bucket.address}/x", f"{bucket.address}/x", source="folder"), "test")
    assert split.class_names == ["2", "10", "b"]
    names = [split.reader.name(k) for k in range(4)]
    assert dict(zip(names, split.labels.tolist(), strict=True)) == {
        "b/1.png": 2,
        "b/deep/2.JPG": 2,
        "10/3.png": 1,
        "2/4.png": 0,
    }
    reader = pickle.loads(pickle.dumps(split.reader))
    bucket.server.forget()
    assert [reader(k) for k in range(4)] == [image(name) for name in names]
    assert bucket.server.asked <= 8


def test_folder_and_bucket_have_the_same_tables(bucket: TestBucket, tmp_path: Path) -> None:
    put(tmp_path / "x", *(f"{k % 2}/{name}.png" for k, name in enumerate(NAMES)))
    for file in (tmp_path / "x").rglob("*.png"):
        stored(bucket)[f"x/{file.relative_to(tmp_path / 'x')}"] = file.read_bytes()
    for place, folder in ((tmp_path / "x", "disk"), (f"{bucket.address}/x", "bucket")):
        plan_table(selection(place, place, source="folder"), "test", IMAGE_FORMAT, tmp_path).write(tmp_path / folder)
    for name in ("images.npy", "labels.npy", "content.npy", "names.json"):
        assert (tmp_path / "disk" / name).read_bytes() == (tmp_path / "bucket" / name).read_bytes()


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_shards_in_a_bucket_are_those_on_disk(bucket: TestBucket, tmp_path: Path, kind: str) -> None:
    labels = {name: str(k % 3) for k, name in enumerate(NAMES)}
    (tmp_path / "x").mkdir()
    for number, some in enumerate((NAMES[:7], NAMES[7:])):
        content = (
            tar(samples(some, labels))
            if kind == "tar"
            else parquet([image(name) for name in some], [labels[name] for name in some], names=some)
        )
        (tmp_path / "x" / f"{number}.{kind}").write_bytes(content)
        stored(bucket)[f"x/{number}.{kind}"] = content
    assert everything(f"{bucket.address}/x") == everything(tmp_path / "x")


def test_index_of_a_tar_reads_no_large_image(bucket: TestBucket) -> None:
    large = image("a") + bytes(8 * 2**20)
    stored(bucket)["x/0.tar"] = tar([("1.png", large), ("1.cls", b"3"), ("2.png", large), ("2.cls", b"4")])
    bucket.server.forget()
    split = opened(selection(f"{bucket.address}/x", f"{bucket.address}/x"), "test")
    assert split.class_names == ["3", "4"]
    assert bucket.server.bytes_read < 8 * 2**20
    before = bucket.server.bytes_read
    assert split.reader(1) == large
    assert bucket.server.bytes_read - before < 9 * 2**20


def test_index_of_a_parquet_file_reads_no_image(bucket: TestBucket) -> None:
    noise = np.random.default_rng(0).bytes(2**20)
    stored(bucket)["x/0.parquet"] = parquet([noise] * 8, list(range(8)), group=2)
    bucket.server.forget()
    split = opened(selection(f"{bucket.address}/x", f"{bucket.address}/x"), "test")
    assert split.class_names == [str(k) for k in range(8)]
    assert bucket.server.bytes_read < 2**19
    assert split.reader(7) == noise
    assert bucket.server.bytes_read < 3 * 2**20


def test_kept_index_needs_a_listing_alone(bucket: TestBucket, tmp_path: Path) -> None:
    for number in range(3):
        stored(bucket)[f"x/{number}.tar"] = tar(samples([f"{number}a", f"{number}b"]))
    images = selection(f"{bucket.address}/x")

    def files() -> str:
        looks = FolderLooks(KeptDigests(tmp_path / "listings"))
        opened(images, "train", looks)
        return checksum(f"{bucket.address}/x")

    first = files()
    bucket.server.forget()
    opened(images, "train", FolderLooks(KeptDigests(tmp_path / "listings")))
    assert bucket.server.bytes_read == 0
    stored(bucket)["x/1.tar"] = tar(samples(["1a", "1c"]))
    stored(bucket)["x/1.tar"] += bytes(512)  # longer, since the server has one time for all
    assert files() != first


@pytest.mark.parametrize("source", ["folder", "shards"])
def test_split_in_a_bucket_follows_names_and_sizes(bucket: TestBucket, source: str) -> None:
    if source == "folder":
        stored(bucket).update({f"x/{name}.png": image(name) for name in NAMES})
    else:
        stored(bucket)["x/0.tar"] = tar(samples(NAMES))
    images = selection(f"{bucket.address}/x", source=source)

    def names(split: str) -> set[str]:
        found = opened(images, split)  # type: ignore[arg-type]
        return {found.reader.name(k) for k in range(len(found.labels))}

    train, test = names("train"), names("test")
    assert len(train) + len(test) == 20
    assert train.isdisjoint(test)
    assert test
    if source == "folder":
        stored(bucket).update({f"x/new{name}.png": image(name) for name in NAMES})
        assert names("test") >= test
        assert names("train") >= train


def test_test_images_inside_are_not_trained_on(bucket: TestBucket) -> None:
    stored(bucket).update({f"x/{name}": image(name) for name in ("a/1.png", "b/2.png", "test/b/3.png", "test/c/4.png")})
    images = selection(f"{bucket.address}/x", f"{bucket.address}/x/test", source="folder")
    check_apart(images)
    train, test = opened(images, "train"), opened(images, "test")
    assert [train.reader.name(k) for k in range(len(train.labels))] == ["a/1.png", "b/2.png"]
    assert test.class_names == ["a", "b", "c"]
    assert test.labels.tolist() == [1, 2]
    with pytest.raises(GlowPipelineError, match="so that no image is left to train on"):
        check_apart(selection(f"{bucket.address}/x", f"{bucket.address}/x", source="folder"))


def test_classes_of_a_bucket_are_chosen_by_name(bucket: TestBucket) -> None:
    stored(bucket).update({f"x/{name}": image(name) for name in ("cats/1.png", "dogs/2.png")})
    images = selection(f"{bucket.address}/x", source="folder").model_copy(update={"classes": (1,)})
    assert with_class_names(images, "ingest.classes").classes == ("dogs",)


def test_empty_address_is_refused_before_the_run(bucket: TestBucket) -> None:
    place = selection(f"{bucket.address}/none", source="folder").path
    assert place is not None
    with pytest.raises(GlowPipelineError, match=rf"^ingest\.path={bucket.address}/none: nothing is there"):
        check_folder(place, "ingest.path")
    stored(bucket)["x/notes.txt"] = b"x"
    with pytest.raises(GlowPipelineError, match=r"no image in it \(there are 1 \.txt\)"):
        opened(selection(f"{bucket.address}/x", source="folder"))


def test_storage_that_fails_stops_the_table(bucket: TestBucket, tmp_path: Path) -> None:
    stored(bucket)["x/0.tar"] = tar(samples(NAMES))
    plan = plan_table(selection(f"{bucket.address}/x", f"{bucket.address}/x"), "test", IMAGE_FORMAT, tmp_path, "skip")
    bucket.server.failure = lambda kind, _key, _count: 403 if kind == "get" else None
    with pytest.raises(GlowPipelineError, match=f"{bucket.address}/x/0.tar") as refused:
        plan.write(tmp_path / "table")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "table" / "record.json").exists()


def test_file_deleted_since_it_was_listed_is_unreadable(bucket: TestBucket, tmp_path: Path) -> None:
    stored(bucket).update({f"x/{name}.png": image(name) for name in NAMES[:3]})
    place = f"{bucket.address}/x"
    plan = plan_table(selection(place, place, source="folder"), "test", IMAGE_FORMAT, tmp_path, "skip")
    images = plan.images
    del stored(bucket)[f"x/{NAMES[1]}.png"]
    (chunk,) = images.prepared(np.arange(3))
    assert chunk.unreadable == {f"{NAMES[1]}.png": "deleted since it was listed"}
    assert chunk.rows.tolist() == [0, 2]


def test_address_survives_records_and_is_typed_again(bucket: TestBucket) -> None:
    images = selection(f"{bucket.address}/x/", source="shards")
    stored = images.model_dump_json()
    assert json.loads(stored)["path"] == f"{bucket.address}/x"
    assert ImageSelection.model_validate_json(stored) == images
    assert images.key == "shards_x"
    assert images_as_typed(images) == f"dataset=shards,ingest.path={bucket.address}/x"


@pytest.mark.slow
def test_decoding_processes_read_a_bucket(bucket: TestBucket, tmp_path: Path) -> None:
    names = [f"{k:04}" for k in range(300)]
    stored(bucket)["x/0.tar"] = tar(samples(names))
    place = f"{bucket.address}/x"
    digests = []
    for workers in (0, 2):
        plan = plan_table(selection(place, place), "test", IMAGE_FORMAT, tmp_path, num_workers=workers)
        plan.write(tmp_path / f"{workers}")
        digests.append(hashlib.sha256((tmp_path / f"{workers}" / "images.npy").read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert len(ImageTable(tmp_path / "2")) == 300


@pytest.mark.slow
def test_failing_storage_is_one_line_in_a_process(bucket: TestBucket, tmp_path: Path) -> None:
    stored(bucket)["x/0.tar"] = tar(samples([f"{k:04}" for k in range(300)]))
    place = f"{bucket.address}/x"
    plan = plan_table(selection(place, place), "test", IMAGE_FORMAT, tmp_path, num_workers=2)
    bucket.server.failure = lambda kind, _key, _count: 403 if kind == "get" else None
    with pytest.raises(GlowPipelineError, match=f"^{place}/0.tar: ") as refused:
        plan.write(tmp_path / "table")
    assert "\n" not in str(refused.value)
