"""A server on loopback that speaks as much of S3 as `pyarrow.fs` does, counts what is asked, and fails when told to.

Signatures are not checked. Objects are in memory. Kept to what S3 documents: an object is there when its upload is
complete, and a listing has pages.
"""

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
# (kind of the request, key, number of such requests so far) -> a status, or "cut" for half an answer; None: answer.
Failure = Callable[[str, str, int], int | str | None]


@dataclass
class S3Server:
    """What the server holds and what it was asked for.

    Attributes:
        objects: bucket -> key -> content.
        requests: kind -> number: get, head, put, delete, delete_many, list, start_upload, put_part, finish_upload.
        written: keys that were uploaded.
        bytes_read: bytes of objects that were sent.
        page: keys in one page of a listing.
        failure: what goes wrong, and when.
    """

    url: str = ""
    objects: dict[str, dict[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    written: list[str] = field(default_factory=list)
    bytes_read: int = 0
    page: int = 1000
    failure: Failure = lambda kind, key, count: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Begin to count anew, with nothing that fails."""
        self.requests.clear()
        self.written.clear()
        self.bytes_read, self.page, self.failure = 0, 1000, lambda kind, key, count: None

    @property
    def asked(self) -> int:
        """Number of all requests."""
        return sum(self.requests.values())


@dataclass(frozen=True)
class TestBucket:
    """A bucket of the server, which is empty at first."""

    __test__ = False

    server: S3Server
    name: str

    @property
    def address(self) -> str:
        return f"s3://{self.name}"

    @property
    def objects(self) -> dict[str, bytes]:
        """Key -> content, without the empty objects by which `pyarrow` marks folders."""
        return {key: content for key, content in self.server.objects[self.name].items() if not key.endswith("/")}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a connection beyond that of the default, 5, is tried again after a second
    state: S3Server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # with the header in one packet an answer does not wait for 40 ms
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    @property
    def s3(self) -> S3Server:
        return cast(_Server, self.server).state

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        more = super().handle_expect_100()
        self.wfile.flush()
        return more

    def _answer(self) -> None:
        body = self._body()
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        kind = self._kind(key, query)
        with self.s3.lock:
            self.s3.requests[kind] += 1
            count = self.s3.requests[kind]
        fails = self.s3.failure(kind, key, count)
        if isinstance(fails, int):
            return self._error(fails, "InternalError" if fails >= 500 else "AccessDenied")
        if bucket not in self.s3.objects:
            return self._error(404, "NoSuchBucket")
        self._cut = fails == "cut"
        return getattr(self, f"_{kind}")(self.s3.objects[bucket], key, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815  # named by http.server

    def _kind(self, key: str, query: dict[str, str]) -> str:
        match self.command:
            case "GET":
                return "get" if key else "location" if "location" in query else "list"
            case "HEAD":
                return "head" if key else "head_bucket"
            case "PUT":
                return "put_part" if "partNumber" in query else "put"
            case "POST":
                return "start_upload" if "uploads" in query else "delete_many" if "delete" in query else "finish_upload"
        return "abort_upload" if "uploadId" in query else "delete"

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(chunks)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            return b"".join(_aws_chunks(body))
        return body

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, size: int = -1) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/xml", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size < 0 else size))
        self.end_headers()
        if self.command != "HEAD":
            if getattr(self, "_cut", False):
                body, self.close_connection, self._cut = body[: len(body) // 2], True, False
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._send(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _xml(self, name: str, inner: str) -> None:
        self._send(200, f'<?xml version="1.0"?><{name} xmlns="{XMLNS}">{inner}</{name}>'.encode())

    def _get(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        if key not in objects:
            return self._error(404, "NoSuchKey")
        content, status = objects[key], 200
        headers = {"ETag": _etag(content), "Last-Modified": "Fri, 27 Nov 2026 12:00:00 GMT", "Accept-Ranges": "bytes"}
        if self.command == "HEAD":
            return self._send(200, headers=headers, size=len(content))
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            if first >= len(content):
                return self._error(416, "InvalidRange")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[first : last + 1], 206
        with self.s3.lock:
            self.s3.bytes_read += len(content)
        return self._send(status, content, {**headers, "Content-Type": "application/octet-stream"})

    _head = _get

    def _head_bucket(self, *_: object) -> None:
        self._send(200, headers={"x-amz-bucket-region": "us-east-1"})

    def _location(self, *_: object) -> None:
        self._xml("LocationConstraint", "us-east-1")

    def _put(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        objects[key] = body
        self.s3.written.append(key)
        self._send(200, headers={"ETag": _etag(body)})

    def _delete(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        objects.pop(key, None)
        self._send(204)

    def _delete_many(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        for each in ElementTree.fromstring(body).iter():
            if each.tag.endswith("Key"):
                objects.pop(each.text or "", None)
        self._xml("DeleteResult", "")

    def _list(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        page = min(int(query.get("max-keys", 1000)), self.s3.page)
        after = query.get("continuation-token", query.get("start-after", ""))
        entries: dict[str, bytes | None] = {}
        for name in sorted(objects):
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                cut = delimiter and delimiter in rest
                entries[prefix + rest.split(delimiter)[0] + delimiter if cut else name] = None if cut else objects[name]
        shown = [name for name in entries if name > after][: page + 1]
        more, shown = len(shown) > page, shown[:page]
        inner = f"<Name>b</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(shown)}</KeyCount>"
        inner += f"<MaxKeys>{page}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
        if more:
            inner += f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>"
        for name in shown:
            content = entries[name]
            inner += (
                f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
                if content is None
                else f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-27T12:00:00.000Z</LastModified>"
                f"<ETag>{escape(_etag(content))}</ETag><Size>{len(content)}</Size></Contents>"
            )
        self._xml("ListBucketResult", inner)

    def _start_upload(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        with self.s3.lock:
            upload = f"upload-{len(self.s3.uploads)}"
            self.s3.uploads[upload] = {}
        self._xml("InitiateMultipartUploadResult", f"<Key>{escape(key)}</Key><UploadId>{upload}</UploadId>")

    def _put_part(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        self.s3.uploads[query["uploadId"]][int(query["partNumber"])] = body
        self._send(200, headers={"ETag": _etag(body)})

    def _finish_upload(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        parts = self.s3.uploads[query["uploadId"]]
        objects[key] = b"".join(parts[number] for number in sorted(parts))
        self.s3.written.append(key)
        self._xml("CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key><ETag>{_etag(objects[key])}</ETag>")

    def _abort_upload(self, objects: dict[str, bytes], key: str, query: dict[str, str], body: bytes) -> None:
        self.s3.uploads[query["uploadId"]].clear()
        self._send(204)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _aws_chunks(body: bytes) -> Iterator[bytes]:
    """Yield the content of a body that the SDK has signed or summed by chunks."""
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if not size:
            return
        yield body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server without buckets."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = S3Server(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
