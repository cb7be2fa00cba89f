"""What is stored in a bucket: found, needed, and removed."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from glow_pipeline.buckets import Address
from glow_pipeline.datasets.housekeeping.disk import bytes_of, freed_by
from glow_pipeline.datasets.housekeeping.in_buckets import entries_elsewhere, find_in_buckets
from glow_pipeline.datasets.housekeeping.listing import Inventory
from glow_pipeline.datasets.housekeeping.needs import find_needs
from glow_pipeline.datasets.housekeeping.removal import check_removable, choose, remove
from glow_pipeline.datasets.housekeeping.stored import Stored
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.images.bucket_tables import BucketTables
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.tracking.stored_runs import StoredRun
from glow_pipeline.training.model_file import MODEL_FILE, write_model
from tests.conftest import jittered_glow, model_record
from tests.s3_server import TestBucket

UPLOADED = datetime(2026, 11, 27, 12, tzinfo=UTC)  # as the server says of all objects
LATER = UPLOADED + timedelta(days=3)
OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-31T12.00.00.000Z"
DETECTOR_FILE = "glow_detector.safetensors"
DONE = StoredRun("1", "train", "FINISHED")
RUNS = {OLD: DONE, NEW: DONE}


def catalog(bucket: TestBucket) -> dict[str, dict[str, object]]:
    at = f"{bucket.address}/glow"
    return {
        "train_images": {"type": "x.ImageTableDataset", "filepath": f"{at}/03/*/train", "versioned": True},
        "glow_model": {"type": "x.GlowModelDataset", "filepath": f"{at}/06/*/{MODEL_FILE}", "versioned": True},
        "model_card": {"type": "x.ModelCardDataset", "filepath": f"{at}/06/*/{MODEL_FILE}", "versioned": True},
        "glow_detector": {"type": "x.GlowDetectorDataset", "filepath": f"{at}/06/*/{DETECTOR_FILE}", "versioned": True},
        "maps": {"type": "x.WrittenFolderDataset", "filepath": f"{at}/07/*/maps", "versioned": True},
        "ood_progress": {"type": "x.StoreDataset", "filepath": f"{at}/07/*/ood_progress"},
    }


TABLES = "glow/03/digits/1x8x8"
COMPLETE = f"{TABLES}/by-origin/0123-64"
FILES = {
    f"{TABLES}/train/{OLD}/train/table.json": b'{"folder": "0123-64", "record": "of another format"}',
    f"{TABLES}/train/{NEW}/train/table.json": b'{"folder": "0123-64"}',
    f"{COMPLETE}/images-00000.npy": b"12345",
    f"{TABLES}/by-origin/4567-8/rows-00000.parquet": b"123",
    f"{TABLES}/by-origin/made-with-89/made_with.json": b"1",
    f"glow/06/digits/{MODEL_FILE}/{OLD}/{MODEL_FILE}": b"1234",
    f"glow/06/digits/{MODEL_FILE}/{OLD}/README.md": b"12",
    f"glow/06/digits/mutated/{MODEL_FILE}/{NEW}/{MODEL_FILE}": b"1",
    f"glow/07/digits/maps/{OLD}/maps/a.png": b"1",
    f"glow/07/digits/maps/{OLD}/maps/.complete": b"",
    "glow/07/digits/ood_progress/textures_4567/a.parquet": b"1",
    "other/06/digits/model.safetensors": b"1",
}


@pytest.fixture
def filled(bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    monkeypatch.chdir(tmp_path)
    bucket.server.objects[bucket.name] = dict(FILES)
    return bucket


def found(bucket: TestBucket, **given: object) -> list[Stored]:
    wanted = [
        each
        for each in find_in_buckets(catalog(bucket))
        if all(getattr(each, name) == value for name, value in given.items())
    ]
    return sorted(wanted, key=lambda each: each.version)


def reasons(stored: Iterable[Stored], runs: dict[str, StoredRun], now: datetime = LATER) -> dict[str, list[str]]:
    """Return what is needed, with why."""
    everything = list(stored)
    names = {each.path: f"{each.entry} {each.version}" for each in everything}
    reasons: dict[str, list[str]] = {}
    for need in find_needs(everything, runs, now):
        reasons.setdefault(names[need.used], []).append(need.why)
    return reasons


def put_model(bucket: TestBucket, version: str, tmp_path: Path, started_from: str | None = None) -> Path:
    record = model_record().model_copy(update={"started_from": started_from})
    write_model(tmp_path / version, record, jittered_glow().state_dict())
    Address(f"{bucket.address}/glow/06/digits/{MODEL_FILE}/{version}/{MODEL_FILE}").upload(tmp_path / version)
    return tmp_path / version


def test_everything_in_a_bucket_is_found_once(filled: TestBucket) -> None:
    everything = {(each.entry, each.kind, each.images, each.version) for each in found(filled)}
    assert everything == {
        ("train_images", "version", "digits", OLD),
        ("train_images", "version", "digits", NEW),
        ("train_images", "parts", "digits", "parts-4567-8"),
        ("train_images", "parts", "digits", "made-with-89"),
        ("glow_model", "version", "digits", OLD),
        ("glow_model", "version", "digits", NEW),
        ("maps", "version", "digits", OLD),
        ("ood_progress", "progress", "digits", "textures_4567"),
    }
    assert entries_elsewhere(catalog(filled)) == []


def test_listing_costs_one_request_a_page(filled: TestBucket) -> None:
    filled.server.forget()
    found(filled)
    assert (filled.server.requests["list"], filled.server.requests["put"]) == (3, 0)


def test_shared_files_of_tables_count_once(filled: TestBucket) -> None:
    tables = found(filled, entry="train_images", kind="version")
    contents = [list(each.contents()) for each in tables]
    own = sum(len(content) for key, content in FILES.items() if key.endswith("table.json"))
    assert bytes_of([*contents[0], *contents[1]]) == freed_by([*contents[0], *contents[1]]) == own + 5
    assert freed_by(contents[0]) == len(FILES[f"{TABLES}/train/{OLD}/train/table.json"])


def test_files_of_a_table_go_with_its_last_version(filled: TestBucket) -> None:
    filled.server.objects[filled.name][f"{TABLES}/by-origin/0123.json"] = table_record("0123-64")
    old, new = found(filled, entry="train_images", kind="version")
    remove([old])
    assert f"{COMPLETE}/images-00000.npy" in filled.objects
    remove([new])
    assert not [key for key in filled.objects if "0123" in key or "/train/" in key]


def test_removed_folders_leave_all_others(filled: TestBucket) -> None:
    gone = [*found(filled, entry="maps"), *found(filled, entry="glow_model", version=OLD), *found(filled, kind="parts")]
    remove([*gone, *gone])
    left = {key for key in FILES if not any(name in key for name in ("maps", f"{MODEL_FILE}/{OLD}", "4567-8", "-89"))}
    assert set(filled.objects) == left


def test_parts_are_removed_by_their_label(filled: TestBucket) -> None:
    chosen = choose(found(filled), ["parts"], 0, None, LATER)
    assert [each.version for each in chosen] == ["parts-4567-8"]
    remove(chosen)
    assert not [key for key in filled.objects if "4567-8" in key]


def test_interrupted_removal_is_no_version_and_goes_on(filled: TestBucket) -> None:
    (model,) = found(filled, entry="glow_model", version=OLD)
    filled.server.failure = lambda kind, key, count: 403 if kind == "delete_many" else None
    with pytest.raises(GlowPipelineError, match="ACCESS_DENIED"):
        remove([model])
    assert [key.rpartition("/")[2] for key in filled.objects if OLD in key and "06" in key] == ["README.md"]
    filled.server.forget()
    remove(found(filled, entry="glow_model", version=OLD))
    assert not [key for key in filled.objects if OLD in key and "06" in key]


def test_bucket_that_refuses_removal_keeps_all(filled: TestBucket) -> None:
    filled.server.failure = lambda kind, key, count: 403 if kind in ("put", "delete") else None
    with pytest.raises(GlowPipelineError, match="refuses"):
        check_removable(found(filled))
    assert set(FILES) == set(filled.objects)


def test_allowed_check_leaves_nothing(filled: TestBucket) -> None:
    check_removable(found(filled))
    assert set(FILES) == set(filled.objects)


def test_version_written_during_removal_keeps_its_table(filled: TestBucket) -> None:
    record = f"{TABLES}/by-origin/4567.json"
    tables = BucketTables(Address(f"{filled.address}/{TABLES}/by-origin"), Path("copies"))
    folder = "4567-8"

    def write_meanwhile(kind: str, key: str, count: int) -> None:
        if kind == "delete" and key == record:
            filled.server.objects[filled.name][f"{TABLES}/train/x/train/table.json"] = table_record(folder)

    filled.server.objects[filled.name][record] = table_record(folder)
    filled.server.failure = write_meanwhile
    assert not tables.remove_unused(folder)
    assert {record, f"{TABLES}/by-origin/4567-8/rows-00000.parquet"} < set(filled.objects)


def table_record(folder: str) -> bytes:
    record = model_record().train_table.model_dump(mode="json", by_alias=True)
    return json.dumps({"folder": folder, "record": record}).encode()


def test_parts_changed_lately_are_needed(filled: TestBucket) -> None:
    parts = [*found(filled, kind="parts"), *found(filled, kind="progress")]
    needed = reasons(parts, {}, UPLOADED + timedelta(minutes=10))
    assert needed["train_images parts-4567-8"] == ["a command may be at work there, it was changed 10 min ago"]
    assert needed["ood_progress textures_4567"] == needed["train_images parts-4567-8"]
    assert reasons(parts, {}, LATER) == {}


def test_version_of_no_run_may_be_of_others(filled: TestBucket) -> None:
    stored = found(filled, entry="maps")
    assert reasons(stored, {}) == {
        f"maps {OLD}": ["no MLflow run here has made it, so it may be of another project or clone"]
    }
    assert reasons(stored, RUNS) == {}


def test_tables_are_needed_while_a_command_runs(filled: TestBucket) -> None:
    running = {**RUNS, "x": StoredRun("2", "train digits", "RUNNING")}
    stored = found(filled, kind="version")
    assert set(reasons(stored, running)) == {f"train_images {OLD}", f"train_images {NEW}"}


def test_detector_in_a_bucket_needs_its_model(filled: TestBucket, tmp_path: Path) -> None:
    write_detector(tmp_path / "d", Detector({}, {}, DetectorRecord(model_sha256="", model_session=OLD)))
    Address(f"{filled.address}/glow/06/digits/{DETECTOR_FILE}/{NEW}/{DETECTOR_FILE}").upload(tmp_path / "d")
    assert reasons(found(filled, kind="version"), RUNS) == {
        f"glow_model {OLD}": [f"glow_detector of digits {NEW} is a detector of it"]
    }


def test_model_is_needed_by_one_trained_from_it(filled: TestBucket, tmp_path: Path) -> None:
    first = put_model(filled, OLD, tmp_path)
    put_model(filled, NEW, tmp_path, started_from=f"{MODEL_FILE} sha256:{sha256(first)}")
    models = found(filled, entry="glow_model")
    assert reasons(models, RUNS) == {f"glow_model {OLD}": [f"glow_model of digits {NEW} was trained from it"]}
    filled.server.forget()
    assert f"glow_model {OLD}" in reasons(models, RUNS)
    assert filled.server.requests["get"] == len(models)  # their headers


def test_shared_server_keeps_runs_of_other_clones(filled: TestBucket) -> None:
    stored = found(filled, kind="version")
    own = Inventory(stored, RUNS, [], LATER)
    assert own.emptied(stored) == [OLD, NEW]
    assert Inventory(stored, RUNS, [], LATER, shared_runs=True).emptied(stored) == []


def test_damaged_version_of_a_table_is_named(filled: TestBucket) -> None:
    filled.server.objects[filled.name][f"{TABLES}/train/{OLD}/train/table.json"] = b"{"
    with pytest.raises(GlowPipelineError, match=r"train/table.json: is not the version of a table; remove s3://"):
        found(filled)
