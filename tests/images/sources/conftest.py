"""Published files of sources: small ones in place of the true ones, and no network."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import SourceFile

Publish = Callable[[Mapping[str, bytes]], Path]


class Publisher:
    """A publisher of other files under the true names.

    Attributes:
        md5: name -> md5 that counts as the published one.
        address: of the server for all downloads, with a slash at the end.
    """

    def __init__(self, address: str) -> None:
        self.md5: dict[str, str] = {}
        self.address = address

    def publish(self, files: Mapping[str, bytes]) -> None:
        self.md5 |= {Path(name).name: hashlib.md5(content).hexdigest() for name, content in files.items()}


@pytest.fixture
def publisher(no_network: str, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """All published files come from this publisher, who cannot be reached until `address` is set."""
    chosen, verified = Publisher(no_network), RemoteFile.verified

    def verify(file: RemoteFile, folder: Path) -> SourceFile:
        urls = tuple(f"{chosen.address}{file.name}" for _ in file.urls[:1])
        return verified(replace(file, md5=chosen.md5.get(file.name, file.md5), urls=urls), folder)

    monkeypatch.setattr(RemoteFile, "verified", verify)
    return chosen


@pytest.fixture
def publish(publisher: Publisher, tmp_path: Path) -> Publish:
    """Publish files, by path below a raw data folder, and return that folder with them."""

    def put(files: Mapping[str, bytes]) -> Path:
        raw = tmp_path / "raw"
        for name, content in files.items():
            (raw / name).parent.mkdir(parents=True, exist_ok=True)
            (raw / name).write_bytes(content)
        publisher.publish(files)
        return raw

    return put
