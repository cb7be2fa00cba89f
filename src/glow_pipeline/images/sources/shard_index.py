"""The index of a shard: which images are in a tar or parquet file, where, and with which label.

An index is made in one pass, and kept as a parquet file beside the listings of folders until the shard changes.
"""

import hashlib
import io
import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from glow_pipeline.buckets import Address
from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.files import written_whole
from glow_pipeline.images.sources.image_files import is_hidden, suffixes

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = b"glow_pipeline.shard 1"
IMAGE_COLUMN = "image"
LABEL_COLUMNS = ("label", "labels", "cls")
LABEL_BYTES = 4096  # of a .cls or .json file; a longer one has no label
BUFFER = 2**20  # of one request for the headers of a tar

logger = logging.getLogger(__name__)


class ShardFile(NamedTuple):
    """A tar or parquet file.

    Attributes:
        name: relative to the folder of the shards, with slashes.
        place: path or address.
        stamp: a text that differs when the file changes; empty where it may be changing.
    """

    name: str
    place: Path | Address
    stamp: str

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith(".parquet")

    def opened(self) -> Any:
        """Open the file for reads at any place; the caller closes it."""
        if isinstance(self.place, Path):
            return self.place.open("rb")
        return self.place.open()


def read_index(shard: ShardFile, listings: Path | None) -> "pa.Table":
    """Return the index of a shard: columns name, offset, size, label (null without one), sha256.

    `offset` is that of a tar's member, or the row in a parquet file. `sha256` is of the image's content, of an image in
    object storage, which is not read for its index, of its name and size.

    Raises:
        GlowPipelineError: it is no complete tar or parquet file, or has no images.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = hashlib.sha256(str(shard.place).encode(errors="surrogateescape")).hexdigest()[:16]
    path = None if listings is None or not shard.stamp else listings / f"{key}.index.parquet"
    if path is not None and path.is_file():
        try:
            kept = pq.read_table(path, page_checksum_verification=True)
            if kept.schema.equals(_schema(shard.stamp), check_metadata=True):
                return kept
        except (OSError, pa.ArrowException) as problem:
            logger.warning(
                "%s: this index cannot be used (%s); %s is read again", path, first_line(problem), shard.place
            )
    index = _make_index(shard)
    if path is not None:
        try:
            with written_whole(path) as temporary:
                pq.write_table(index, temporary, compression="zstd", write_page_checksum=True)
        except (OSError, GlowPipelineError) as problem:
            logger.warning("%s: the index of %s is not kept (%s)", path, shard.place, first_line(problem))
    return index


def _make_index(shard: ShardFile) -> "pa.Table":
    import pyarrow as pa

    try:
        with shard.opened() as file:
            rows = list(_in_parquet(shard, file) if shard.is_parquet else _in_tar(shard, file))
    except (tarfile.TarError, EOFError, pa.ArrowException) as damaged:
        raise GlowPipelineError(
            f"{shard.place}: not a complete tar or parquet file ({first_line(damaged)}); make it again, or move it away"
        ) from None
    except OSError as problem:
        raise GlowPipelineError(f"{shard.place}: cannot be read ({first_line(problem)})") from None
    return pa.Table.from_pylist([row._asdict() for row in rows], schema=_schema(shard.stamp))


class _Row(NamedTuple):
    name: bytes
    offset: int
    size: int
    label: str | None
    sha256: bytes


def _in_tar(shard: ShardFile, file: Any) -> Iterator[_Row]:
    """Yield the images of a tar in their order, with the labels of the files beside them as WebDataset names them."""
    local = isinstance(shard.place, Path)
    buffered = file if local else io.BufferedReader(file, BUFFER)
    images: list[tuple[str, int, int, bytes]] = []
    labels: dict[str, str] = {}
    with tarfile.open(fileobj=buffered, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
            name = member.name.removeprefix("./")
            if not member.isreg() or member.issparse() or is_hidden(name):
                continue
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in suffixes():
                content = archive.extractfile(member) if local else None
                digest = _identity(shard, name, member.size) if content is None else _sha256(content, member)
                images.append((name, member.offset_data, member.size, digest))
            elif suffix in (".cls", ".json") and member.size <= LABEL_BYTES:
                content = archive.extractfile(member)
                label = None if content is None else _label(suffix, content.read())
                if label is not None:
                    labels[_key(name)] = label
        buffered.seek(archive.offset)
        end = buffered.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE:  # tarfile takes a tar that is cut off between two members for a whole one
            raise tarfile.ReadError(f"it ends at byte {archive.offset:,} without the mark of its end")
        if any(end):  # and a damaged header for the end
            raise tarfile.ReadError(f"damaged at byte {archive.offset:,}")
    # Of a sample with 1.png and 1.mask.png the first alone is the image; 1.2.png and 1.3.png alone are two images.
    plain = {_key(name) for name, *_ in images if PurePosixPath(name).stem == PurePosixPath(_key(name)).name}
    for name, offset, size, digest in images:
        if _key(name) in plain and PurePosixPath(name).stem != PurePosixPath(_key(name)).name:
            continue
        encoded = name.encode(errors="surrogateescape")
        yield _Row(encoded, offset, size, labels.get(_key(name)), digest)


def _key(name: str) -> str:
    """Return what the names of a sample's files have in common: all before the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _label(suffix: str, content: bytes) -> str | None:
    """Return the label in a .cls file, or in the key `label` or `cls` of a .json file; None where there is none."""
    try:
        text = content.decode().strip()
        found = text if suffix == ".cls" else json.loads(text)
    except ValueError:
        return None
    if isinstance(found, dict):
        found = next((found[key] for key in LABEL_COLUMNS if key in found), None)
    elif suffix == ".json":
        return None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) and str(found) else None


def _sha256(content: Any, member: tarfile.TarInfo) -> bytes:
    """Return the digest of a member; one that is cut off is named when it is decoded."""
    try:
        return hashlib.file_digest(content, "sha256").digest()
    except tarfile.ReadError:
        return hashlib.sha256(f"truncated {member.name}".encode(errors="surrogateescape")).digest()


def _identity(shard: ShardFile, name: str, size: int) -> bytes:
    return hashlib.sha256(f"{shard.name}\0{name}\0{size}".encode(errors="surrogateescape")).digest()


def _in_parquet(shard: ShardFile, file: Any) -> Iterator[_Row]:
    """Yield the rows of a parquet file, a row group at a time; of one in object storage without the images' bytes."""
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file)
    columns = image_columns(opened.schema_arrow, shard.place)
    label = next((name for name in LABEL_COLUMNS if name in opened.schema_arrow.names), None)
    class_names = _class_names(opened.schema_arrow, label)
    local = isinstance(shard.place, Path)
    wanted = [name for name in (columns.content if local else None, columns.path, label) if name is not None]
    row = 0
    for group in range(opened.num_row_groups):
        table = opened.read_row_group(group, columns=wanted)
        labels = table[label].to_pylist() if label else [None] * opened.metadata.row_group(group).num_rows
        names = columns.paths(table) if columns.path else [None] * len(labels)
        contents = columns.contents(table) if local else [None] * len(labels)
        for value, path, content in zip(labels, names, contents, strict=True):
            name = f"{shard.name}#{row}" + (f" {path}" if path else "")
            digest = _identity(shard, name, 0) if content is None else hashlib.sha256(content).digest()
            named = value
            if class_names and isinstance(value, int):
                named = class_names[value] if 0 <= value < len(class_names) else None  # -1: not known
            yield _Row(name.encode(errors="surrogateescape"), row, 0, None if named is None else str(named), digest)
            row += 1


class ImageColumns(NamedTuple):
    """The place of the images in a parquet file.

    Attributes:
        column: of images: bytes, or a struct of `bytes` and `path`.
        content, path: names of the leaves; None: there are no paths.
    """

    column: str
    content: str
    path: str | None

    def contents(self, table: "pa.Table") -> list[bytes | None]:
        """Return the encoded images of a table."""
        return [row["bytes"] if isinstance(row, dict) else row for row in table[self.column].to_pylist()]

    def paths(self, table: "pa.Table") -> list[str | None]:
        """Return the images' file names."""
        return [row and row["path"] for row in table[self.column].to_pylist()]


def image_columns(schema: "pa.Schema", place: object) -> ImageColumns:
    """Find the images of a parquet file: the column `image`, or the only one of bytes or of a struct with `bytes`.

    Raises:
        GlowPipelineError: there is none, or several of other names.
    """
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    found = {}
    for field in schema:
        leaves = {leaf.name: leaf.type for leaf in field.type} if pa.types.is_struct(field.type) else {}
        if holds_bytes(field.type):
            found[field.name] = ImageColumns(field.name, field.name, None)
        elif "bytes" in leaves and holds_bytes(leaves["bytes"]):
            path = f"{field.name}.path" if "path" in leaves else None
            found[field.name] = ImageColumns(field.name, f"{field.name}.bytes", path)
    if IMAGE_COLUMN in found:
        return found[IMAGE_COLUMN]
    if len(found) != 1:
        raise GlowPipelineError(
            f"{place}: no column {IMAGE_COLUMN} of bytes (there are {', '.join(schema.names)}); give that of the "
            f"images this name"
        )
    return next(iter(found.values()))


def _class_names(schema: "pa.Schema", label: str | None) -> list[str]:
    """Return the names of a label's values, where Hugging Face's `datasets` has written them into the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return list(map(str, features[label]["names"]))
    except (KeyError, TypeError, ValueError):
        return []


def _schema(stamp: str) -> "pa.Schema":
    import pyarrow as pa

    columns = [("name", pa.binary()), ("offset", pa.int64()), ("size", pa.int64()), ("label", pa.string())]
    return pa.schema([*columns, ("sha256", pa.binary(32))], metadata={b"form": VERSION, b"stamp": stamp.encode()})
