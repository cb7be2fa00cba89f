"""The whole of ingest, training and scoring with images in tar and parquet files, on disk and in a bucket."""

import hashlib
from pathlib import Path

import pytest

from tests.images.sources.shards import image, parquet, samples, tar
from tests.project import TINY_TYPED, copy_project, kedro, kedro_run, versions
from tests.s3_server import TestBucket

NAMES = [f"{k:04}" for k in range(60)]
LABELS = {name: ("cats", "dogs")[k % 2] for k, name in enumerate(NAMES)}
PREPARED = "ingest.size=8,ingest.channels=1"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project")


def tables(project: Path, name: str) -> dict[str, set[str]]:
    """Return split -> SHA-256 of the images of all its tables."""
    found = versions(project, f"03_primary/{name}/**/images.npy")
    return {
        split: {hashlib.sha256(path.read_bytes()).hexdigest() for path in found if path.parent.name == split}
        for split in ("train", "test")
    }


@pytest.mark.slow
def test_shards_in_a_bucket_train_and_score(project: Path, bucket: TestBucket) -> None:
    contents = bucket.server.objects[bucket.name]
    contents["photos/train/0.tar"] = tar(samples(NAMES[:40], LABELS))
    contents["photos/train/1.tar"] = tar(samples(NAMES[40:], LABELS))
    contents["photos/test/0.tar"] = tar(samples(["a", "b"], {"a": "cats", "b": "dogs"}))
    contents["photos/strange/0.parquet"] = parquet([image(f"strange {k}") for k in range(9)])
    place = f"{bucket.address}/photos"
    own = f"dataset=shards,ingest.path={place}/train,ingest.eval_path={place}/test"
    kedro_run(project, "--pipelines", "train", "--params", f"{own},{PREPARED},{TINY_TYPED}")
    kedro_run(project, "--pipelines", "ood", "--params", f"{own},out_dataset=shards,ood.out_path={place}/strange")
    (scores,) = versions(project, "07_model_output/shards_train/vs_shards_strange/ood_scores.parquet/*/*")
    assert scores.stat().st_size


@pytest.mark.slow
def test_second_command_reads_no_image_of_a_bucket(project: Path, bucket: TestBucket) -> None:
    contents = bucket.server.objects[bucket.name]
    contents["0.tar"] = tar(samples(NAMES, LABELS))
    own = f"dataset=shards,ingest.path={bucket.address}/,ingest.name=photos,{PREPARED}"
    kedro_run(project, "--pipelines", "ingest", "--params", own)
    bucket.server.forget()
    kedro_run(project, "--pipelines", "ingest", "--params", own)
    assert bucket.server.bytes_read == 0
    assert {split: len(found) for split, found in tables(project, "shards_photos").items()} == {"train": 1, "test": 1}


@pytest.mark.slow
def test_wrong_address_is_one_line_before_the_run(project: Path, bucket: TestBucket) -> None:
    done = kedro(
        project, "run", "--pipelines", "ingest", "--params", f"dataset=folder,ingest.path={bucket.address}/absent"
    )
    assert done.returncode
    assert f"Error: ingest.path={bucket.address}/absent: nothing is there; correct the address" in done.stderr
    assert "Running node" not in done.stderr
