import errno
import gzip
import hashlib
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources import remote
from glow_pipeline.images.sources.remote import RemoteFile, digests
from tests.images.conftest import Answer, Mirror, send
from tests.processes import comes, fresh_processes

NAME = "numbers.bin"
CONTENT = np.random.default_rng(0).bytes(300_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
DAMAGE = {"half": CONTENT[:150_000], "empty": b"", "other": CONTENT[::-1]}
LOGIN_PAGE = b"<html>you have to log in first</html>"


def published(*urls: str, manual: str = "") -> RemoteFile:
    return RemoteFile(NAME, MD5, urls, manual)


def names_in(folder: Path) -> list[str]:
    """Return all files and folders but locks, which stay for the next process."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def refusal(file: RemoteFile, folder: Path) -> str:
    """Return the error of a file that cannot be fetched."""
    with pytest.raises(GlowPipelineError) as raised:
        file.verified(folder)
    message = str(raised.value)
    assert "\n" not in message
    return message


# The file is there ---------------------------------------------------------------------------


def test_present_file_is_not_fetched(mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    os.utime(path, ns=(1, 1))
    mirror.files[NAME] = CONTENT
    assert published(f"{mirror.url}{NAME}").verified(tmp_path) == (path, SHA256)
    assert path.stat().st_mtime_ns == 1
    assert mirror.requests == []


def test_nothing_is_written_beside_a_present_file(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    published().verified(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_checksums_cover_all_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BLOCK", 70_001)
    (tmp_path / NAME).write_bytes(CONTENT)
    assert digests(tmp_path / NAME) == (MD5, SHA256)


# It is fetched -------------------------------------------------------------------------------


def test_missing_file_is_fetched_from_any_mirror(mirror: Mirror, no_network: str, tmp_path: Path) -> None:
    mirror.files = {f"{place}/{NAME}": content for place, content in (("2", LOGIN_PAGE), ("3", CONTENT), ("4", b""))}
    places = (no_network, *(f"{mirror.url}{place}/" for place in "1234"))
    folder = tmp_path / "not" / "yet"
    fetched = published(*(f"{place}{NAME}" for place in places)).verified(folder)
    assert fetched == (folder / NAME, SHA256)
    assert fetched.path.read_bytes() == CONTENT
    assert mirror.requests == [f"{place}/{NAME}" for place in "123"]
    assert names_in(folder) == [NAME]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_is_fetched_again(mirror: Mirror, tmp_path: Path, damage: str) -> None:
    (tmp_path / NAME).write_bytes(DAMAGE[damage])
    mirror.files[NAME] = CONTENT
    assert published(f"{mirror.url}{NAME}").verified(tmp_path).sha256 == SHA256
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names_in(tmp_path) == [NAME]


def ranged(handler: BaseHTTPRequestHandler) -> None:
    """Send the requested range, as most servers do."""
    requested = handler.headers.get("Range")
    if requested is None:
        send(handler, CONTENT)
        return
    start = int(requested.removeprefix("bytes=").removesuffix("-"))
    if start >= len(CONTENT):
        handler.send_error(416)
        return
    handler.send_response(206)
    handler.send_header("Content-Length", str(len(CONTENT) - start))
    handler.end_headers()
    handler.wfile.write(CONTENT[start:])


@pytest.mark.parametrize("answer", [ranged, CONTENT], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("left", [CONTENT[:150_000], CONTENT + b"more", b""], ids=["half", "too much", "nothing"])
def test_download_resumes_where_it_ended(mirror: Mirror, tmp_path: Path, left: bytes, answer: bytes | Answer) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(left)
    mirror.files[NAME] = answer
    published(f"{mirror.url}{NAME}").verified(tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names_in(tmp_path) == [NAME]


def test_only_missing_bytes_are_fetched(mirror: Mirror, tmp_path: Path) -> None:
    sent = []

    def counted(handler: BaseHTTPRequestHandler) -> None:
        sent.append(handler.headers.get("Range"))
        ranged(handler)

    mirror.files = {"1": truncated, "2": counted}
    published(f"{mirror.url}1", f"{mirror.url}2").verified(tmp_path)
    assert sent == ["bytes=200000-"]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_wrong_partial_download_is_replaced(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(LOGIN_PAGE)
    mirror.files[NAME] = ranged
    assert "did not give it (what came has md5" in refusal(published(f"{mirror.url}{NAME}"), tmp_path)
    assert published(f"{mirror.url}{NAME}").verified(tmp_path).sha256 == SHA256


def test_gzipped_file_is_stored_unchanged(mirror: Mirror, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)

    def encoded(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(packed)

    mirror.files["numbers.gz"] = encoded
    file = RemoteFile("numbers.gz", hashlib.md5(packed).hexdigest(), (f"{mirror.url}numbers.gz",))
    assert file.verified(tmp_path).path.read_bytes() == packed


# It cannot be had ----------------------------------------------------------------------------


def test_error_without_network_names_file_and_place(no_network: str, tmp_path: Path) -> None:
    urls = (f"{no_network}1/{NAME}", f"{no_network}2/{NAME}")
    message = refusal(published(*urls), tmp_path)
    assert message.startswith(f"{tmp_path / NAME}: missing, and {urls[1]} did not give it (")
    assert "refused" in message
    assert message.endswith(f"; put {NAME} there, from {urls[0]} or {urls[1]}, or connect to the network")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_stays_without_a_network(no_network: str, tmp_path: Path, damage: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(DAMAGE[damage])
    os.utime(path, ns=(1, 1))
    message = refusal(published(f"{no_network}{NAME}"), tmp_path)
    found = hashlib.md5(DAMAGE[damage]).hexdigest()
    assert message.startswith(f"{path}: md5 is {found}, published is {MD5}: damaged or another file, and ")
    assert f"from {no_network}{NAME}" in message
    assert path.read_bytes() == DAMAGE[damage]
    assert path.stat().st_mtime_ns == 1
    assert names_in(tmp_path) == [NAME]


def truncated(handler: BaseHTTPRequestHandler) -> None:
    """The connection is closed before the announced end."""
    send(handler, CONTENT[:200_000], length=len(CONTENT))


def broken(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(500)


@pytest.mark.parametrize("before", [None, DAMAGE["half"]], ids=["absent", "damaged"])
@pytest.mark.parametrize(
    "given", [LOGIN_PAGE, b"", DAMAGE["half"], truncated, broken], ids=["html", "empty", "half", "truncated", "error"]
)
def test_wrong_download_is_refused(mirror: Mirror, tmp_path: Path, given: bytes | Answer, before: bytes | None) -> None:
    path = tmp_path / NAME
    if before is not None:
        path.write_bytes(before)
    mirror.files[NAME] = given
    message = refusal(published(f"{mirror.url}{NAME}"), tmp_path)
    assert message.startswith(f"{path}: ")
    assert f"{mirror.url}{NAME} did not give it (" in message
    assert mirror.requests == [NAME]
    assert [name for name in names_in(tmp_path) if not name.endswith(".part")] == ([] if before is None else [NAME])
    assert before is None or path.read_bytes() == before


def test_download_without_an_answer_ends(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT", 0.2)

    def silence(handler: BaseHTTPRequestHandler) -> None:
        mirror.closing.wait()

    mirror.files[NAME] = silence
    start = time.monotonic()
    message = refusal(published(f"{mirror.url}{NAME}"), tmp_path)
    assert time.monotonic() - start < 15, "half of a user's time"
    assert "timed out" in message.lower()
    assert names_in(tmp_path) == []


def test_download_that_stalls_ends(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT", 2)  # enough for the half to come on a busy machine

    def half_then_silence(handler: BaseHTTPRequestHandler) -> None:
        truncated(handler)
        mirror.closing.wait()

    mirror.files[NAME] = half_then_silence
    assert "timed out" in refusal(published(f"{mirror.url}{NAME}"), tmp_path).lower()
    assert names_in(tmp_path) == [f".{NAME}.part"]


def test_full_disk_is_reported(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(response: HTTPResponse, amount: int) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(HTTPResponse, "read1", full)
    (tmp_path / NAME).write_bytes(DAMAGE["half"])
    mirror.files[NAME] = CONTENT
    message = refusal(published(f"{mirror.url}{NAME}"), tmp_path)
    assert message == f"{tmp_path}: the disk is full ({NAME}); make room, or move data/"
    assert (tmp_path / NAME).read_bytes() == DAMAGE["half"]
    assert names_in(tmp_path) == [NAME]


def test_file_to_fetch_by_hand_is_named(tmp_path: Path) -> None:
    file = published(manual="https://example.org (free account)")
    advice = f"; put {NAME} there, from https://example.org (free account)"
    assert refusal(file, tmp_path) == f"{tmp_path / NAME}: missing{advice}"
    (tmp_path / NAME).write_bytes(b"another")
    found = hashlib.md5(b"another").hexdigest()
    assert refusal(file, tmp_path) == (
        f"{tmp_path / NAME}: md5 is {found}, published is {MD5}: damaged or another file{advice}"
    )
    assert (tmp_path / NAME).read_bytes() == b"another"


def test_read_only_folder_is_reported(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files[NAME] = CONTENT
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    message = refusal(published(f"{mirror.url}{NAME}"), tmp_path)
    assert message.startswith(f"{tmp_path / NAME}: missing or damaged, and its folder cannot be written to; put {NAME}")
    assert list(tmp_path.iterdir()) == []


# Several processes ---------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def fresh() -> ForkServerContext:
    """The imports behind such processes begin with the first test."""
    return fresh_processes()


def test_two_processes_fetch_a_file_once(mirror: Mirror, tmp_path: Path, fresh: ForkServerContext) -> None:
    def slowly(handler: BaseHTTPRequestHandler) -> None:
        mirror.closing.wait(1)  # the other process is as far by now
        send(handler, CONTENT)

    mirror.files[NAME] = slowly
    file = published(f"{mirror.url}{NAME}")
    with ProcessPoolExecutor(2, mp_context=fresh) as pool:
        both = [pool.submit(file.verified, tmp_path) for _ in range(2)]
    assert [one.result() for one in both] == [(tmp_path / NAME, SHA256)] * 2
    assert mirror.requests == [NAME]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names_in(tmp_path) == [NAME]


def test_killed_download_leaves_no_file(mirror: Mirror, tmp_path: Path, fresh: ForkServerContext) -> None:
    half_sent = threading.Event()

    def half(handler: BaseHTTPRequestHandler) -> None:
        send(handler, CONTENT[:150_000], length=len(CONTENT))
        handler.wfile.flush()
        half_sent.set()
        mirror.closing.wait()

    def written() -> int:
        return sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())

    mirror.files[NAME] = half
    process = fresh.Process(target=published(f"{mirror.url}{NAME}").verified, args=(tmp_path,))
    process.start()
    assert half_sent.wait(60)
    assert comes(written)
    process.kill()
    process.join()
    assert names_in(tmp_path) == [f".{NAME}.part"]

    mirror.files[NAME] = CONTENT
    assert published(f"{mirror.url}{NAME}").verified(tmp_path).sha256 == SHA256
    assert names_in(tmp_path) == [NAME]
