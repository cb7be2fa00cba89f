"""Base class of datasets of files, local or remote."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec
from kedro.io import Version

from glow_pipeline.bucket_connection import connection_options
from glow_pipeline.buckets import is_address
from glow_pipeline.datasets.bucket_files import BucketFiles
from glow_pipeline.datasets.places import LOCAL, protocol_and_path
from glow_pipeline.datasets.versioned import OwnVersionDataset
from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.files import written_whole
from glow_pipeline.remote_storage import storage_failures

FSSPEC_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs"}

_Saved = TypeVar("_Saved")
_Loaded = TypeVar("_Loaded")


class StoredFileDataset(OwnVersionDataset[_Saved, _Loaded]):
    """A file on a local disk, in a bucket or at an address of fsspec; readers see it complete or not at all.

    A local file is written beside its place and renamed. A remote one is written to a temporary local file and
    uploaded: object stores show an object when its upload is complete.

    `_protocol` and `_fs` are named as in kedro-datasets, so that hooks can treat all datasets alike.

    Args:
        filepath: a path, or an address such as s3://bucket/folder/name.png.
        version: set by `versioned: true`.
        credentials: for the file system: https://docs.kedro.org/en/stable/configure/credentials/
        fs_args: more arguments of the file system.
        metadata: data for plugins.

    Raises:
        GlowPipelineError: the address cannot be used.
        ImportError: the package for that kind of address is not installed.
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._protocol, path = protocol_and_path(filepath)
        self._fs = _file_system(filepath, self._protocol, credentials or {}, fs_args or {})
        self.metadata = metadata
        # Without functions Kedro looks on the local disk.
        functions = () if self._protocol == LOCAL else (self._fs.exists, self._glob)
        super().__init__(PurePosixPath(path), version, *functions)

    @contextmanager
    def _writing(self, path: PurePosixPath) -> Iterator[Path]:
        """Yield a local path; the file or folder that the block writes there becomes `path`.

        Raises:
            GlowPipelineError: there is no room, or the storage refuses the file.
        """
        if self._protocol == LOCAL:
            with written_whole(Path(path)) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / path.name
            yield temporary
            try:
                self._upload(temporary, path)
            except storage_failures() as error:
                line = first_line(error)
                raise GlowPipelineError(
                    f"{self._protocol}://{path}: cannot be written ({line}); correct the address or the credentials, "
                    f"and type the same command again"
                ) from error

    def _upload(self, written: Path, path: PurePosixPath) -> None:
        if written.is_file():
            self._fs.put_file(str(written), str(path))
            return
        for file in sorted(each for each in written.rglob("*") if each.is_file()):
            self._fs.put_file(str(file), str(path / file.relative_to(written)))

    @contextmanager
    def _reading(self, path: PurePosixPath) -> Iterator[Path]:
        """Yield a local path at which `path` can be read within the block."""
        if self._protocol == LOCAL:
            yield Path(path)
            return
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / path.name
            self._fs.get_file(str(path), str(temporary))
            yield temporary

    def _glob(self, pattern: str) -> list[str]:
        self._fs.invalidate_cache()  # another process may have saved a version
        found: list[str] = self._fs.glob(pattern)
        return found

    def _exists(self) -> bool:
        return bool(self._fs.isfile(str(self._get_load_path())))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "protocol": self._protocol, "version": self._version}


def _file_system(filepath: str, protocol: str, credentials: dict[str, Any], fs_args: dict[str, Any]) -> Any:
    """Return `pyarrow.fs` for a bucket, unless the entry has arguments that only fsspec's package for it knows."""
    if is_address(filepath):
        try:
            return BucketFiles(protocol, connection_options(filepath, credentials, fs_args))
        except GlowPipelineError:
            if find_spec(FSSPEC_PACKAGES[protocol]) is None:
                raise
    return fsspec.filesystem(protocol, **credentials, **fs_args)
