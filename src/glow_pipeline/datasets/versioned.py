"""Versions of artifacts: a run loads the versions that it has saved itself."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

from kedro.io import AbstractVersionedDataset, DatasetError, Version

from glow_pipeline.datasets.bucket_files import BucketFiles
from glow_pipeline.datasets.places import bucket_files, copy_of, protocol_and_path
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole

_DI = TypeVar("_DI")
_DO = TypeVar("_DO")


class OwnVersionDataset(AbstractVersionedDataset[_DI, _DO]):
    """A versioned dataset that loads the version that it has saved, if it has saved one.

    Kedro by itself loads the version with the newest label, whichever run saved it: with two trainings at once, or
    after a wrong clock, a run would measure another run's model.
    """

    _saved_version: str | None = None
    _fs: Any = None  # file system, where it is not on a local disk

    def resolve_load_version(self) -> str | None:
        return self._saved_version or super().resolve_load_version()

    def _get_save_path(self) -> PurePosixPath:
        path = super()._get_save_path()
        self._saved_version = self.resolve_save_version()
        return path

    def exists(self) -> bool:
        """Return whether the version that would be loaded exists.

        Raises:
            GlowPipelineError: a bucket refuses, or does not answer.
        """
        try:
            return super().exists()
        except DatasetError as error:
            if isinstance(error.__cause__, GlowPipelineError):
                raise error.__cause__ from None
            raise

    def _get_versions(self) -> list[str]:
        """Return the paths of all versions, newest first.

        Kedro by itself takes a bucket that refuses for one without versions, and asks for each version once more.
        """
        if not isinstance(self._fs, BucketFiles):
            return super()._get_versions()
        return sorted(self._fs.glob(str(self._get_versioned_path("*"))), reverse=True)


class CopiedVersionDataset(OwnVersionDataset[_DI, _DO]):
    """Such a dataset in a local file or folder, or in a bucket, of which there is a local copy; to be derived from.

    What is in a bucket is written to the place of its copy and uploaded complete; it is read from the copy, which is
    fetched first where there is none. Versions never change, so a copy is never out of date.

    Args:
        filepath: path or address of the file or folder.
        version: set by `versioned: true`.
        credentials, fs_args: for a bucket: options of `pyarrow.fs`, also by their names in s3fs.
        metadata: data for plugins.
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
        self.metadata = metadata
        self._protocol, path = protocol_and_path(filepath)
        self._connection = {"credentials": credentials, "fs_args": fs_args}
        self._fs = bucket_files(filepath, credentials, fs_args)
        functions = () if self._fs is None else (self._fs.exists, self._fs.glob)
        super().__init__(PurePosixPath(path), version, *functions)

    @property
    def is_local(self) -> bool:
        """Return whether the versions are on a local disk."""
        return self._fs is None

    @property
    def filepath(self) -> Path:
        """Folder of all versions; for a bucket that of the copies, which may lack some."""
        return self._local(self._filepath)

    def _local(self, path: PurePath | str) -> Path:
        """Return where a file or folder of the entry is, or will be, on a local disk."""
        return Path(path) if self.is_local else copy_of(self._protocol, str(path))

    def _fetched(self, path: PurePath | str) -> Path:
        """Return the local path of a file, which is fetched; where it does not exist, the path that it would have."""
        local = self._local(path)
        if not self.is_local and not local.is_file():
            self._fetch(path, local)
        return local

    def _fetch(self, path: PurePath | str, local: Path) -> None:
        with suppress(FileNotFoundError), written_whole(local) as temporary:
            self._fs.get_file(str(path), str(temporary))

    def _is_file(self, path: PurePath | str) -> bool:
        return Path(path).is_file() if self.is_local else self._fs.isfile(str(path))

    @contextmanager
    def _writing(self, path: PurePath) -> Iterator[Path]:
        """Yield a local path, at which the block writes a complete file; one of a bucket is then uploaded."""
        local = self._local(path)
        try:
            yield local
            if not self.is_local:
                self._fs.put_file(str(local), str(path))
        except BaseException:
            if not self.is_local:
                local.unlink(missing_ok=True)
            raise

    @contextmanager
    def _editing(self, folder: PurePath, last: str) -> Iterator[Path]:
        """Yield a local folder in which the block may write files; those of a bucket are fetched before and uploaded.

        Args:
            folder: of a version.
            last: name of the file that is uploaded last.
        """
        local = self._local(folder)
        if self.is_local:
            yield local
            return
        for file in self._fs.address(folder).listed(recursive=True):
            if not (local / file.name).is_file() or not file.name.endswith(".safetensors"):  # others may have changed
                self._fetch(folder / file.name, local / file.name)
        before = _stamps(local)
        yield local
        changed = [name for name, stamp in _stamps(local).items() if before.get(name) != stamp]
        for name in sorted(changed, key=lambda name: (name == last, name)):
            self._fs.put_file(str(local / name), str(folder / name))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the files below a folder that are not hidden, with what changes when they do."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}
