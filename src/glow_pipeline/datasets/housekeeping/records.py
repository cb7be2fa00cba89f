"""Records of stored things on a local disk, and of models in buckets their digests, without fetching the models."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from glow_pipeline.buckets import Address
from glow_pipeline.datasets.housekeeping.disk import in_words
from glow_pipeline.datasets.housekeeping.stored import Stored, Where
from glow_pipeline.datasets.places import copy_of_address
from glow_pipeline.files import sha256, written_whole

STREAMS = 16  # files that are read at once
HEAD = 2**16  # bytes, which the headers of most models fit into
DIGEST = ".sha256"  # beside the copy of a model, also where there is no copy

logger = logging.getLogger(__name__)


@contextmanager
def local_records(stored: Sequence[Stored]) -> Iterator[Callable[[Stored], Path]]:
    """Yield a function that returns where the record of each of these can be read on a local disk.

    Of a safetensors file in a bucket the header is fetched, and the rest is a hole.
    """
    far = [each.file for each in stored if isinstance(each.file, Address)]
    with TemporaryDirectory(prefix="records_") as folder, ThreadPoolExecutor(STREAMS) as pool:
        local: dict[Where, Path] = {file: Path(folder) / str(number) / file.name for number, file in enumerate(far)}
        list(pool.map(_fetch, far, [local[file] for file in far]))
        yield lambda each: local[each.file] if isinstance(each.file, Address) else each.file


def _fetch(file: Address, path: Path) -> None:
    """Copy what is read of a file, if it exists."""
    path.parent.mkdir()
    try:
        if path.suffix != ".safetensors":
            file.download(path)
            return
        head, size = file.start(HEAD), file.size()
    except FileNotFoundError:
        return
    if (length := 8 + int.from_bytes(head[:8], "little")) > HEAD:
        head = file.start(min(length, size))
    path.write_bytes(head)
    with path.open("r+b") as written:
        written.truncate(size)


def digest(stored: Stored) -> str | None:
    """Return the SHA-256 of a model's file; None if there is none. One in a bucket is read once a machine."""
    file = stored.file
    if isinstance(file, Path):
        return sha256(file) if file.is_file() else None
    copy = copy_of_address(file)
    if copy.is_file():
        return sha256(copy)
    known = copy.with_name(DIGEST)
    if not known.is_file():
        logger.info("%s: reading %s, to find what was trained from it", file, in_words(file.size()))
        hashed = hashlib.sha256()
        try:
            for block in file.blocks():
                hashed.update(block)
        except FileNotFoundError:
            return None
        with written_whole(known) as temporary:
            temporary.write_text(hashed.hexdigest(), encoding="ascii")
    return known.read_text(encoding="ascii")
