"""Places of files that are written once: both kinds keep the same promises."""

import errno
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from glow_pipeline import stores
from glow_pipeline.buckets import Address
from glow_pipeline.stores import BucketStore, FolderStore, Store, store_at
from tests.s3_server import TestBucket

Put = Callable[[str, bytes], None]


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, bucket: TestBucket, tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "a" / "store") if request.param == "folder" else store_at(f"{bucket.address}/a/store")


@pytest.fixture
def put(store: Store, tmp_path: Path) -> Put:
    def put(name: str, content: bytes) -> None:
        written = tmp_path / "written"
        written.write_bytes(content)
        store.put(name, written)
        assert not written.exists()

    return put


def test_place_that_is_not_there_is_empty(store: Store) -> None:
    assert store.names() == set()
    store.delete()


def test_files_come_back_by_name(store: Store, put: Put, tmp_path: Path) -> None:
    put("a.json", b"{}")
    put("b.npy", b"12345")
    assert store.names() == {"a.json", "b.npy"}
    assert store.read("a.json") == b"{}"
    store.fetch("b.npy", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"12345"


def test_missing_file_is_not_found(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("none")
    with pytest.raises(FileNotFoundError):
        store.fetch("none", tmp_path / "fetched")


def test_file_written_again_is_replaced(store: Store, put: Put) -> None:
    put("a", b"1")
    put("a", b"1")
    assert store.read("a") == b"1"


def test_file_from_another_disk_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Path) -> None:
        raise OSError(errno.EXDEV, "other disk")

    monkeypatch.setattr(stores, "rename_whole", refuse)
    store = FolderStore(tmp_path / "a" / "store")
    (tmp_path / "written").write_bytes(b"1")
    store.put("a", tmp_path / "written")
    assert store.read("a") == b"1"
    assert not (tmp_path / "written").exists()


def test_stores_are_named_by_their_place(tmp_path: Path) -> None:
    assert str(store_at(tmp_path)) == str(tmp_path)
    assert str(store_at("s3://b/x")) == "s3://b/x"


def test_deleted_place_is_empty_and_usable(store: Store, put: Put) -> None:
    put("a", b"1")
    store.delete()
    assert store.names() == set()
    put("b", b"2")
    assert store.names() == {"b"}


def test_store_pickles(store: Store, put: Put) -> None:
    put("a", b"1")
    assert pickle.loads(pickle.dumps(store)).read("a") == b"1"


def test_only_a_folder_has_a_path(tmp_path: Path) -> None:
    assert store_at(tmp_path).folder == tmp_path
    assert store_at("s3://b/x") == BucketStore(Address("s3://b/x"))
    assert store_at("s3://b/x").folder is None


def test_store_in_a_bucket_lists_with_one_request(bucket: TestBucket, tmp_path: Path) -> None:
    store = store_at(f"{bucket.address}/x")
    for number in range(20):
        (tmp_path / "written").write_bytes(b"")
        store.put(str(number), tmp_path / "written")
    bucket.server.forget()
    assert len(store.names()) == 20
    assert bucket.server.requests == {"list": 1}


def test_folder_has_no_file_before_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Path]] = []
    monkeypatch.setattr(stores, "rename_whole", lambda _, target: seen.append([*target.parent.iterdir()]))
    (tmp_path / "written").write_bytes(b"1")
    FolderStore(tmp_path / "store").put("a", tmp_path / "written")
    assert seen == [[]]


def test_first_claim_lasts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CLAIM_SECONDS", 0.0)
    assert [store.claim("a", by) for by in ("1", "0", "1")] == ["1", "1", "1"]
    assert store.claim("b", "0") == "0"


def test_one_of_many_claims_at_once_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: FolderStore(tmp_path).claim("a", str(number)), range(8)))
    assert len(set(answers)) == 1
    assert FolderStore(tmp_path).names() == {"a"}


def test_claims_at_once_in_a_bucket_have_one_owner(bucket: TestBucket, tmp_path: Path) -> None:
    store = store_at(f"{bucket.address}/a/store")
    for by in ("3", "1"):  # as both are written before either looks again
        (tmp_path / by).touch()
        store_at(f"{bucket.address}/a/store/work").put(by, tmp_path / by)
    assert [store.claim("work", by) for by in ("3", "1", "0")] == ["1", "1", "1"]
