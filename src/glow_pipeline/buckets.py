"""Addresses of object storage (S3, Google Cloud, Azure), by `pyarrow.fs`, which is imported when one is used."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from glow_pipeline.errors import GlowPipelineError, first_line

SCHEMES = "s3a?|gs|gcs|abfss?"
ADDRESS = re.compile(rf"({SCHEMES})://([^/?#]+)/?([^?#]*)")
FORMS = "s3://bucket/folder, gs://bucket/folder or abfs://container@account.dfs.core.windows.net/folder"
# Options of `pyarrow.fs` that a person can give, with the names that s3fs, gcsfs and adlfs have for them.
OPTIONS = {
    "s3": (
        *("access_key", "secret_key", "session_token", "anonymous", "region", "endpoint_override", "scheme"),
        *("role_arn", "session_name", "external_id", "proxy_options", "force_virtual_addressing", "tls_ca_file_path"),
        *("request_timeout", "connect_timeout"),
    ),
    "gs": ("anonymous", "project_id", "target_service_account", "scheme", "endpoint_override"),
    "abfs": (
        *("account_name", "account_key", "sas_token", "tenant_id", "client_id", "client_secret"),
        *("blob_storage_authority", "blob_storage_scheme", "dfs_storage_authority", "dfs_storage_scheme"),
    ),
}
ALIASES = {
    "key": "access_key",
    "secret": "secret_key",
    "token": "session_token",
    "anon": "anonymous",
    "endpoint_url": "endpoint_override",
    "region_name": "region",
    "project": "project_id",
}
# S3 asks again after 1, 2, 4, ... seconds at most; Google's client does so for 15 minutes by default.
ATTEMPTS = 5
CONNECT_SECONDS, ANSWER_SECONDS = 5, 20
RETRY_SECONDS = 60
BLOCK = 8 * 2**20  # bytes of one request for a part of a file


class Listed(NamedTuple):
    """A file of a listing.

    Attributes:
        name: relative to the address that was listed.
        size: bytes.
        mtime_ns: time of its upload; 0 where the storage does not say.
    """

    name: str
    size: int
    mtime_ns: int


def as_typed(path: Path) -> str:
    """Return a path as it is typed: pathlib makes s3:/ of the s3:// of an address, and no other path begins so."""
    return re.sub(rf"^({SCHEMES}):/(?=[^/])", r"\1://", str(path))


def is_address(place: str) -> bool:
    """Return whether this is an address of object storage, and not a path."""
    return ADDRESS.match(place) is not None


@dataclass(frozen=True)
class Address:
    """A file or folder in object storage. It pickles, and connects when it is first used.

    Methods raise GlowPipelineError, one line, where the storage refuses or does not answer.

    Attributes:
        text: as it is typed: s3://bucket/folder.
        options: of the connection, as `connection_options` returns them; all others are those of the environment.
    """

    text: str
    options: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        return f"Address({self.text})"  # without secrets

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> "Address":
        return Address(f"{self.text.rstrip('/')}/{name}", self.options)

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.path.rpartition("/")[2]

    @property
    def path(self) -> str:
        """Path of `pyarrow.fs`: bucket/folder."""
        _, host, inner = _parts(self.text)
        return f"{host.partition('@')[0]}/{inner.strip('/')}".rstrip("/")

    @property
    def filesystem(self) -> Any:
        """The `pyarrow.fs.FileSystem` that this is in."""
        scheme, host, _ = _parts(self.text)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        with self._one_line():
            return _connected(os.getpid(), _storage_of(scheme), host, self.options, endpoint)

    def listed(self, recursive: bool = False) -> Iterator[Listed]:
        """Yield the files of a folder, in the order of their names; none where it does not exist.

        Raises:
            GlowPipelineError: there is no such bucket.
        """
        from pyarrow.fs import FileSelector, FileType

        start = len(self.path) + 1
        with self._one_line():
            selector = FileSelector(self.path, allow_not_found=True, recursive=recursive)
            found = self.filesystem.get_file_info(selector)
        if not found:
            self.check_bucket()
        files = (info for info in found if info.type == FileType.File)
        for info in sorted(files, key=lambda info: info.path):
            yield Listed(info.path[start:], info.size, info.mtime_ns or 0)

    def is_file(self) -> bool:
        """Return whether this is a file."""
        return self._kind() == "File"

    def is_folder(self) -> bool:
        """Return whether there are files below this."""
        return self._kind() == "Directory"

    def exists(self) -> bool:
        """Return whether this is a file or a folder; nothing exists in a bucket that does not."""
        return self._kind() != "NotFound"

    def size(self) -> int:
        """Return the bytes of a file; 0 where it is none."""
        with self._one_line():
            return self.filesystem.get_file_info(self.path).size or 0

    def check_bucket(self) -> None:
        """Check that there is such a bucket.

        Raises:
            GlowPipelineError: there is none.
        """
        bucket = self.path.partition("/")[0]
        with self._one_line():
            if self.filesystem.get_file_info(bucket).type.name == "NotFound":
                raise GlowPipelineError(f"{self.text}: there is no bucket {bucket}; make it, or correct the address")

    def open(self) -> Any:
        """Return the file as a `pyarrow.NativeFile` to read ranges of, by `read_at(size, offset)` or `read(size)`.

        Its reads raise OSError where the storage fails. A large file is never read as a stream,
        `open_input_stream().read()`: that becomes hundreds of requests.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._one_line():
            return self.filesystem.open_input_file(self.path)

    def blocks(self) -> Iterator[bytes]:
        """Yield the content of the file, a block at a time.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._one_line(), self.open() as file:
            while block := file.read(BLOCK):
                yield block

    def download(self, target: Path) -> None:
        """Copy the file to a local path, whose folder is made.

        Raises:
            FileNotFoundError: it is not there; then nothing is made here either.
        """
        blocks = self.blocks()
        first = next(blocks, b"")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.write(first)
            file.writelines(blocks)

    def upload(self, written: Path) -> None:
        """Make this the content of a complete local file. Readers see the file when the last byte has arrived."""
        with self._one_line(), written.open("rb") as source:
            target = self.filesystem.open_output_stream(self.path)
            try:
                shutil.copyfileobj(source, target, BLOCK)
            except BaseException:
                # There is no call to give an upload up: what is there so far would appear when the object is freed.
                target.close()
                self.filesystem.delete_file(self.path)
                raise
            target.close()

    def delete(self) -> None:
        """Remove a folder with all that is in it, if it exists."""
        with self._one_line(), suppress(FileNotFoundError):
            self.filesystem.delete_dir(self.path)

    def _kind(self) -> str:
        with self._one_line():
            return str(self.filesystem.get_file_info(self.path).type.name)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, GlowPipelineError):
            raise
        except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are of these
            raise GlowPipelineError(
                f"{self.text}: the storage refuses or does not answer ({first_line(error)}); correct the address, the "
                f"credentials or the endpoint (docs/storage.md), and type the same command again"
            ) from error


def connection_options(address: str, *given: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """Return the options of a catalog entry, by the names that `pyarrow.fs` has for them.

    Args:
        address: of the entry.
        given: its credentials and its fs_args.

    Raises:
        GlowPipelineError: `pyarrow.fs` has no such option.
    """
    allowed = OPTIONS[_storage_of(address)]
    flat = {name: value for each in given for name, value in (each or {}).items()}
    flat |= flat.pop("client_kwargs", {})  # of s3fs
    options = {ALIASES.get(name, name): value for name, value in flat.items()}
    for name in options:
        if name not in allowed:
            raise GlowPipelineError(f"{address}: credentials: {name}: not an option; these are: {', '.join(allowed)}")
    return tuple(sorted(options.items()))


def _storage_of(address: str) -> str:
    """Return the kind of storage, a key of `OPTIONS`, of an address or its scheme."""
    return "s3" if address.startswith("s3") else "gs" if address.startswith("g") else "abfs"


def _parts(address: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket and the path in it."""
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise GlowPipelineError(f"{address}: not an address of object storage; write {FORMS}, without ? and #")
    return found[1], found[2], found[3]


@lru_cache(maxsize=16)  # one connection, however many addresses are used
def _connected(_pid: int, kind: str, host: str, options: tuple[tuple[str, Any], ...], endpoint: str | None) -> Any:
    """Return a file system of this process: a forked one has no use for the connections of another."""
    from pyarrow import fs

    given = dict(options)
    if kind == "s3":
        if endpoint and "endpoint_override" not in given:
            given["endpoint_override"] = endpoint
        if "endpoint_override" not in given and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
            given.setdefault("region", fs.resolve_s3_region(host))
        return fs.S3FileSystem(
            **{"connect_timeout": CONNECT_SECONDS, "request_timeout": ANSWER_SECONDS, **given},
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            allow_delayed_open=True,  # a small file is one request
        )
    if kind == "gs":
        return fs.GcsFileSystem(**given, retry_time_limit=timedelta(seconds=RETRY_SECONDS))
    account = host.partition("@")[2].partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not given.setdefault("account_name", account):
        raise GlowPipelineError(
            f"abfs://{host}: no storage account; write abfs://container@account.dfs.core.windows.net/folder, or set "
            f"AZURE_STORAGE_ACCOUNT_NAME"
        )
    return fs.AzureFileSystem(**given)
