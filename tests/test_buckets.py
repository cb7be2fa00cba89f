"""Addresses of object storage."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from glow_pipeline import bucket_connection, buckets
from glow_pipeline.bucket_connection import connection_options
from glow_pipeline.buckets import Address, is_address
from glow_pipeline.errors import GlowPipelineError
from tests.s3_server import TestBucket

BIG = 2 * buckets.BLOCK + 5


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(1 << 16) * (BIG >> 16) + b"12345")
    return path


def folder(bucket: TestBucket) -> Address:
    return Address(f"{bucket.address}/folder/with spaces")


def upload(address: Address, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "written"
    path.write_bytes(content)
    address.upload(path)


@pytest.mark.parametrize("text", ["s3://b/x", "s3a://b", "gs://b/x/y", "gcs://b", "abfs://c@a.dfs.core.windows.net/x"])
def test_addresses_of_object_storage_are_known(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["data/x", "/data", "s3:/b/x", "file:///data", "C:\\data", "memory://x", "https://x/y"]
)
def test_paths_and_other_schemes_are_not(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize("text", ["s3://", "s3:///x", "s3://b/x?region=y", "s3://b/x#y", "data/x"])
def test_wrong_address_is_one_line(text: str) -> None:
    with pytest.raises(GlowPipelineError, match=r"not an address of object storage; write s3://bucket/folder"):
        _ = Address(text).path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("s3://b", "b"),
        ("s3://b/x/y/", "b/x/y"),
        ("gs://b/x", "b/x"),
        ("abfs://c@a.dfs.core.windows.net/x/y", "c/x/y"),
    ],
)
def test_path_begins_with_the_bucket(text: str, path: str) -> None:
    assert Address(text).path == path


def test_small_and_large_files_come_back(bucket: TestBucket, big: Path, tmp_path: Path) -> None:
    upload(folder(bucket) / "small", b"abc", tmp_path)
    (folder(bucket) / "large").upload(big)
    assert b"".join((folder(bucket) / "small").blocks()) == b"abc"
    assert b"".join((folder(bucket) / "large").blocks()) == big.read_bytes()
    with (folder(bucket) / "large").open() as file:
        assert file.read_at(7, BIG - 5) == b"12345"


def test_missing_file_is_told_from_failures(bucket: TestBucket) -> None:
    assert not (folder(bucket) / "none").exists()
    assert not (folder(bucket) / "none").is_file()
    with pytest.raises(FileNotFoundError):
        list((folder(bucket) / "none").blocks())


def test_listing_has_names_sizes_and_no_folders(bucket: TestBucket, tmp_path: Path) -> None:
    for name in ("b", "a", "sub/c"):
        upload(folder(bucket) / name, name.encode(), tmp_path)
    assert [(file.name, file.size) for file in folder(bucket).listed()] == [("a", 1), ("b", 1)]
    assert [file.name for file in folder(bucket).listed(recursive=True)] == ["a", "b", "sub/c"]
    assert all(file.mtime_ns for file in folder(bucket).listed())
    assert list((folder(bucket) / "none").listed()) == []


def test_listing_of_several_pages_is_complete(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.server.page = 2
    for number in range(5):
        upload(folder(bucket) / str(number), b"", tmp_path)
    assert [file.name for file in folder(bucket).listed()] == list("01234")
    assert bucket.server.requests["list"] == 3


def test_files_are_told_from_folders(bucket: TestBucket, tmp_path: Path) -> None:
    upload(folder(bucket) / "a", b"1", tmp_path)
    assert folder(bucket).is_folder()
    assert not folder(bucket).is_file()
    assert (folder(bucket) / "a").is_file()
    assert not (folder(bucket) / "a").is_folder()
    assert folder(bucket).exists()
    assert ((folder(bucket) / "a").size(), folder(bucket).size()) == (1, 0)


def test_requests_grow_with_blocks_alone(bucket: TestBucket, big: Path) -> None:
    (folder(bucket) / "large").upload(big)
    assert bucket.server.asked <= 2 + 1 + BIG // 5_000_000  # the smallest part that S3 takes
    bucket.server.forget()
    list((folder(bucket) / "large").blocks())
    assert bucket.server.asked <= 1 + 1 + BIG // buckets.BLOCK
    assert bucket.server.bytes_read == BIG


def test_deleted_folder_is_gone_with_its_files(bucket: TestBucket, tmp_path: Path) -> None:
    for name in ("folder/a", "folder/sub/b", "folder2/c"):
        upload(Address(f"{bucket.address}/{name}"), b"", tmp_path)
    Address(f"{bucket.address}/folder").delete()
    Address(f"{bucket.address}/none").delete()
    assert set(bucket.objects) == {"folder2/c"}


@pytest.mark.parametrize("failure", [503, "cut"])
def test_failure_for_a_moment_is_passed_over(bucket: TestBucket, big: Path, failure: int | str) -> None:
    first = {"put_part", "get", "list"}
    bucket.server.failure = lambda kind, key, count: failure if count == 1 and kind in first else None
    (folder(bucket) / "large").upload(big)
    assert b"".join((folder(bucket) / "large").blocks()) == big.read_bytes()
    assert [file.size for file in folder(bucket).listed()] == [BIG]


def test_refusal_is_one_line(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.server.failure = lambda kind, key, count: 403
    for use in (folder(bucket).exists, lambda: list(folder(bucket).listed()), folder(bucket).delete):
        with pytest.raises(GlowPipelineError, match=r"^s3://bucket-\d+/folder/with spaces: .*ACCESS_DENIED.*; correct"):
            use()
    with pytest.raises(GlowPipelineError, match=r"ACCESS_DENIED"):
        upload(folder(bucket) / "x", b"", tmp_path)


def test_missing_bucket_is_one_line(bucket: TestBucket, tmp_path: Path) -> None:
    missing = Address("s3://no-such-bucket/x")
    for use in (missing.check_bucket, lambda: list(missing.listed())):
        with pytest.raises(GlowPipelineError, match="s3://no-such-bucket/x: there is no bucket no-such-bucket; make"):
            use()
    with pytest.raises(GlowPipelineError, match="NO_SUCH_BUCKET"):
        upload(missing, b"", tmp_path)


def test_storage_that_does_not_answer_costs_seconds(bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(bucket_connection, "ATTEMPTS", 2)
    began = time.monotonic()
    with pytest.raises(GlowPipelineError, match="does not answer"):
        list(folder(bucket).listed())
    assert time.monotonic() - began < 60


def test_address_pickles_and_shows_no_secret(bucket: TestBucket, tmp_path: Path) -> None:
    options = connection_options("s3://b", {"key": "name", "secret": "hidden"}, {"endpoint_url": bucket.server.url})
    address = Address(f"{bucket.address}/x", options)
    upload(address, b"abc", tmp_path)
    assert b"".join(pickle.loads(pickle.dumps(address)).blocks()) == b"abc"
    assert "hidden" not in f"{address} {address!r}"


def test_given_endpoint_wins_over_the_environment(bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    options = connection_options("s3://b", {"client_kwargs": {"endpoint_url": bucket.server.url}})
    assert list(Address(bucket.address, options).listed()) == []


def test_unknown_option_is_one_line() -> None:
    with pytest.raises(GlowPipelineError, match=r"s3://b: credentials: profile: not an option; these are: access_key"):
        connection_options("s3://b", {"profile": "mine"})


def test_storage_of_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(GlowPipelineError, match="no storage account; write abfs://container@account"):
        _ = Address("abfs://container/x").filesystem


@pytest.mark.parametrize(
    ("text", "kind", "options"),
    [("gs://b/x", "gcs", {"anon": True}), ("abfs://c@a.dfs.core.windows.net/x", "abfs", {"account_key": "a2V5"})],
)
def test_google_and_azure_connect_by_their_own_classes(text: str, kind: str, options: dict[str, Any]) -> None:
    assert Address(text, connection_options(text, options)).filesystem.type_name == kind


def test_no_library_is_imported_before_use() -> None:
    program = "import sys; from glow_pipeline import stores; stores.store_at('s3://b'); print('pyarrow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
