"""Small archives in their true formats, and a server for them on this machine."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import EncodedSplit, Source, Split


def jpeg(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    """A JPEG of (width, height) pixels of noise, another one for each seed."""
    width, height = size
    shape = (height, width) if mode == "L" else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def tar_of(files: Mapping[str, bytes], mode: str = "w", tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar archive of these files in this order; names that end in / are folders."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tar_format) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zip_of(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of these files in this order; names that end in / are folders."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def published(remote: RemoteFile, content: bytes, folder: Path | None = None, urls: tuple[str, ...] = ()) -> RemoteFile:
    """As if its publisher had published this content instead; it is put in the folder, if one is given."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / remote.name).write_bytes(content)
    return replace(remote, md5=hashlib.md5(content).hexdigest(), urls=urls)


def opened(source: Source, raw: Path, split: Split) -> EncodedSplit:
    """Both steps of a source that has encoded images."""
    whole = source.open([file.path for file in source.files(raw, split)], split)
    assert isinstance(whole, EncodedSplit)
    return whole


def contents(split: EncodedSplit) -> dict[str, tuple[int, bytes]]:
    """What a split holds: name -> label and encoded image, in the split's order."""
    found = {split.reader.name(i): (int(label), split.reader(i)) for i, label in enumerate(split.labels)}
    assert len(found) == len(split.labels)
    return found


def message_of(action: Callable[[], object]) -> str:
    """The one line that a user is told."""
    with pytest.raises(GlowPipelineError) as raised:
        action()
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    return message


class _Served(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server on this machine that gives out the files of a folder."""
    monkeypatch.setenv("no_proxy", "*")
    with HTTPServer(("127.0.0.1", 0), partial(_Served, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
