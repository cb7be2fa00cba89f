"""Files that somebody publishes: where they lie, whether they are what was published, and how they get here."""

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.source import SourceFile, Split

BLOCK = 2**20
TIMEOUT = 30.0  # seconds without an answer, not for the whole file


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: as it is called on disk.
        md5: as its publisher gives it.
        urls: addresses, tried in turn; none for a file that has to be fetched by hand.
        manual: how to fetch it by hand: where, and after which agreement.
    """

    name: str
    md5: str
    urls: tuple[str, ...] = ()
    manual: str = ""

    def verified(self, folder: Path) -> SourceFile:
        """The file in this folder, with the published md5; fetched if it is absent or something else.

        What is fetched gets its name only when it is whole and right, so that a process which dies or a line which
        drops leaves nothing that looks like the file; the next call goes on where it ended. A second process waits
        for the first one's download.
        Where the right file lies nothing is written: the folder may be read-only.

        Raises:
            GlowPipelineError: it is not there and cannot be fetched; one line that says what belongs where.
        """
        path = folder / self.name
        if path.is_file():
            md5, sha256 = digests(path)
            if md5 == self.md5:
                return SourceFile(path, sha256)
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise GlowPipelineError(
                f"{path}: missing or damaged, and its folder cannot be written to; put {self.name} there, from "
                f"{self.manual or ' or '.join(self.urls)}"
            )
        with FileLock(folder / f".{self.name}.lock"):
            # Looked at again, because another process may have fetched it meanwhile.
            md5, sha256 = digests(path) if path.is_file() else ("", "")
            if md5 != self.md5:
                sha256 = self._fetch(path, md5)
            return SourceFile(path, sha256)

    def _fetch(self, path: Path, found: str) -> str:
        """Fetch the file, where one with the md5 `found`, or none, is now; return its sha256."""
        part = path.with_name(f".{self.name}.part")
        problem = ""
        for url in self.urls:
            try:
                _download(url, part)
            except (OSError, HTTPException) as error:  # no network, no answer, a line that drops
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    part.unlink(missing_ok=True)
                    raise GlowPipelineError(
                        f"{path.parent}: the disk is full ({self.name}); make room, or move data/"
                    ) from None
                problem = f", and {url} did not give it ({_cause(error)})"
                continue
            md5, sha256 = digests(part)
            if md5 == self.md5:
                part.replace(path)
                return sha256
            part.unlink()
            problem = f", and {url} did not give it (what came has md5 {md5})"
        state = f"md5 is {found}, published is {self.md5}: damaged or another file" if found else "missing"
        where = self.manual or " or ".join(self.urls)
        network = ", or connect to the network" if self.urls else ""
        raise GlowPipelineError(f"{path}: {state}{problem}; put {self.name} there, from {where}{network}")


@dataclass(frozen=True)
class Published:
    """A source's published files: the folder below the raw data folder, and which of them a split needs."""

    folder: str
    needed: Callable[[Split], Sequence[RemoteFile]]

    def files(self, raw: Path, split: Split) -> list[SourceFile]:
        """As `Source.files`."""
        return [file.verified(raw / self.folder) for file in self.needed(split)]

    def lies_at(self, raw: Path, split: Split) -> list[Path]:
        """As `Source.lies_at`."""
        return [raw / self.folder / file.name for file in self.needed(split)]


def _download(url: str, part: Path) -> None:
    """Fetch what `part` lacks; what came before a line dropped stays in it.

    The bytes are taken as they are stored: requests, and so pooch, would unpack a .gz that a server calls encoded.

    Raises:
        OSError, HTTPException: not all of it came.
    """
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "glow_pipeline", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if start and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # more than there is: of another file
            _download(url, part)
            return
        raise
    with response:
        start = start if response.status == HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(total=total, initial=start, desc=f"fetch {url.rpartition('/')[2]}", unit="B", unit_scale=True) as bar,
        ):
            while block := response.read1(BLOCK):
                file.write(block)
                bar.update(len(block))
            if total is not None and file.tell() < total:
                raise OSError(f"the line dropped after {file.tell():,} of {total:,} bytes")


def _cause(error: BaseException) -> str:
    """What an error, or the one inside it, says, on one line."""
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, BaseException) else error)
    return " ".join(text.split())[:120]


def digests(path: Path) -> tuple[str, str]:
    """Hex md5 and sha256 of a file, in one pass."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with (
        path.open("rb") as file,
        tqdm(total=path.stat().st_size, desc=f"check {path.name}", unit="B", unit_scale=True, delay=2) as bar,
    ):
        while block := file.read(BLOCK):
            md5.update(block)
            sha256.update(block)
            bar.update(len(block))
    return md5.hexdigest(), sha256.hexdigest()
