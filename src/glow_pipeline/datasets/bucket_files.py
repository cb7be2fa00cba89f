"""A bucket with the methods of an fsspec file system that Kedro's versions and our datasets use."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from glow_pipeline.buckets import Address


class BucketFiles:
    """The files of object storage by `pyarrow.fs`, which is installed, where s3fs, gcsfs and adlfs are not.

    Paths are addresses without their scheme: bucket/folder/name. All methods raise one line where the storage refuses.

    Args:
        protocol: the scheme: s3, gs, abfs.
        options: of the connection, as `buckets.connection_options` returns them.
    """

    def __init__(self, protocol: str, options: tuple[tuple[str, Any], ...] = ()) -> None:
        self._protocol, self._options = protocol, options

    def address(self, path: str | PurePosixPath) -> Address:
        """Return the address of a path."""
        return Address(f"{self._protocol}://{path}", self._options)

    def exists(self, path: str) -> bool:
        return self.address(path).exists()

    def size(self, path: str) -> int:
        return self.address(path).size()

    def isfile(self, path: str) -> bool:
        return self.address(path).is_file()

    def isdir(self, path: str) -> bool:
        return self.address(path).is_folder()

    def glob(self, pattern: str) -> list[str]:
        """Return the files and folders that match; a `*` stands for a name or a part of one."""
        folder = pattern.partition("*")[0].rpartition("/")[0]
        matching = re.compile("[^/]*".join(map(re.escape, pattern.split("*"))) + "(?=/|$)")
        paths = (f"{folder}/{file.name}" for file in self.address(folder).listed(recursive=True))
        return sorted({found[0] for path in paths if (found := matching.match(path)) is not None})

    def open(self, path: str, mode: str = "rb") -> Any:
        """Return a file that is open to read; what is written is uploaded complete, by `put_file`."""
        if mode != "rb":
            raise ValueError(f"{mode}: a file in a bucket is opened to read alone")
        return self.address(path).open()

    def put_file(self, local: str, path: str) -> None:
        self.address(path).upload(Path(local))

    def get_file(self, path: str, local: str) -> None:
        """Copy a file to a local path, whose folder is made.

        Raises:
            FileNotFoundError: it is not there.
        """
        self.address(path).download(Path(local))

    def get(self, path: str, local: str, recursive: bool = True) -> None:
        """Copy the files of a folder into a local folder."""
        for file in self.address(path.rstrip("/")).listed(recursive):
            self.get_file(f"{path.rstrip('/')}/{file.name}", f"{local.rstrip('/')}/{file.name}")

    def invalidate_cache(self) -> None:
        """Do nothing: no listing is kept."""
