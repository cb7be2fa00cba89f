"""The SHA-256 of what an image table holds, whatever its files are: to compare tables made in different ways.

    python benchmarks/table_sha256.py <folder of a table, or address of a version in a bucket> [another ...]

Prints the digest of all pixels, labels and content hashes in the order of the rows, and the number of images. Reads a
piece at a time.
"""

import hashlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from glow_pipeline.buckets import Address, is_address
from glow_pipeline.images.bucket_tables import BY_ORIGIN, VERSION_FILE, BucketTables, read_table
from glow_pipeline.images.table import ImageTable

AT_ONCE = 2**14  # images


def table_sha256(table: ImageTable) -> str:
    """Return the digest of a table's pixels, then its labels, then its content hashes."""
    digest = hashlib.sha256()
    for start in range(0, len(table), AT_ONCE):
        digest.update(table[start : start + AT_ONCE][0].numpy().data)
    for values in (table.labels.numpy(), table.content_hashes):
        for start in range(0, len(table), AT_ONCE):
            digest.update(np.ascontiguousarray(values[start : start + AT_ONCE], dtype=np.int64).data)
    return digest.hexdigest()


def opened(place: str, copies: Path) -> ImageTable:
    """Return the table in a folder, or in a bucket: s3://.../<format>/<split>/<version>/<split>."""
    if not is_address(place):
        return ImageTable(Path(place))
    stored = read_table(Address(place) / VERSION_FILE)
    if stored is None:
        sys.exit(f"{place}: there is no {VERSION_FILE}")
    return BucketTables(Address(place.rstrip("/").rsplit("/", 3)[0]) / BY_ORIGIN, copies).open(stored)


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        with TemporaryDirectory() as copies:
            table = opened(folder, Path(copies))
            print(f"{table_sha256(table)}  {len(table):>10,} images  {folder}")  # noqa: T201
