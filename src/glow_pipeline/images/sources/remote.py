"""Published files: their addresses and checksums, and how they are verified and fetched."""

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
TIMEOUT = 30.0  # seconds without an answer, not for all of the file


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: name of the file on disk.
        md5: its published MD5 checksum.
        urls: addresses, tried in turn; none for a file that has to be fetched by hand.
        manual: how to fetch it by hand: where, and after which agreement.
    """

    name: str
    md5: str
    urls: tuple[str, ...] = ()
    manual: str = ""

    def verified(self, folder: Path) -> SourceFile:
        """Return the file of this folder with the published md5; fetch it if it is absent or another file.

        A download gets the file's name only when it is complete and its md5 is right, so that an interrupted one
        leaves nothing that looks like the file; the next call resumes it. A second process waits for the first one's
        download. Where the right file exists nothing is written: the folder may be read-only.

        Raises:
            GlowPipelineError: it is absent and cannot be fetched; the line says which file belongs where.
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
            # Checked again, because another process may have fetched it meanwhile.
            md5, sha256 = digests(path) if path.is_file() else ("", "")
            if md5 != self.md5:
                sha256 = self._fetch(path, md5)
            return SourceFile(path, sha256)

    def _fetch(self, path: Path, found: str) -> str:
        """Fetch the file in place of one with the md5 `found`, or of none; return its sha256."""
        part = path.with_name(f".{self.name}.part")
        problem = ""
        for url in self.urls:
            try:
                _download(url, part)
            except (OSError, HTTPException) as error:  # no network, no answer, a dropped connection
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
        """Return the verified files, as `Source.files`."""
        return [file.verified(raw / self.folder) for file in self.needed(split)]

    def paths(self, raw: Path, split: Split) -> list[Path]:
        """Return the paths of these files, as `Source.paths`."""
        return [raw / self.folder / file.name for file in self.needed(split)]


def _download(url: str, part: Path) -> None:
    """Fetch what `part` lacks; on an error it keeps the bytes received so far.

    The bytes are taken as they are stored: requests, and so pooch, would unpack a .gz that a server calls encoded.

    Raises:
        OSError, HTTPException: the download is not complete.
    """
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "glow_pipeline", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if start and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # longer than the file: of another one
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
    """Return the message of an error, or of the one inside it, on one line."""
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, BaseException) else error)
    return " ".join(text.split())[:120]


def digests(path: Path) -> tuple[str, str]:
    """Return the hex md5 and sha256 of a file, in one pass."""
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
