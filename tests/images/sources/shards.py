"""Tars as WebDataset and parquet files as Hugging Face's `datasets` write them, made with tarfile and pyarrow."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.sources.source import EncodedSplit, Split
from tests.images.sources.folders import picture


def image(name: str) -> bytes:
    """Return a picture of one level, which depends on the name."""
    return picture(int.from_bytes(hashlib.sha256(name.encode()).digest()[:1]))


def tar(members: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def samples(names: Iterable[str], labels: Mapping[str, str] | None = None) -> list[tuple[str, bytes]]:
    """Return the members of samples: `<name>.png`, and `<name>.cls` where there are labels."""
    found = []
    for name in names:
        found.append((f"{name}.png", image(name)))
        if labels is not None:
            found.append((f"{name}.cls", labels[name].encode()))
    return found


def parquet(
    images: Sequence[bytes | None],
    labels: Sequence[object] | None = None,
    *,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    group: int = 3,
    plain: bool = False,
    column: str = "image",
) -> bytes:
    """Return a file of images; `class_names` are those of a ClassLabel."""
    rows: list[Any] = list(images)
    if not plain:
        rows = [{"bytes": content, "path": names and names[k]} for k, content in enumerate(images)]
    kind = pa.binary() if plain else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({column: pa.array(rows, kind), **({} if labels is None else {"label": pa.array(labels)})})
    if class_names is not None:
        features = {"info": {"features": {"label": {"names": class_names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=group)
    return stream.getvalue()


def selection(
    path: Path | str, eval_path: Path | str | None = None, percentage: float = 30.0, source: str = "shards"
) -> ImageSelection:
    return ImageSelection.of_folder(
        str(path), None if eval_path is None else str(eval_path), percentage, 0, source=source
    )


def opened(images: ImageSelection, split: Split = "train", looks: FolderLooks | None = None) -> EncodedSplit:
    source = source_of(images, looks)
    found = source.open([file.path for file in source.files(Path("raw"), split)], split)
    assert isinstance(found, EncodedSplit)
    return found


def everything(path: Path | str, source: str = "shards") -> dict[str, tuple[bytes, str]]:
    """Return content and class of all images of a folder, by name."""
    split = opened(selection(path, path, source=source), "test")
    names = [split.reader.name(k) for k in range(len(split.labels))]
    assert len(set(names)) == len(names)
    classes = split.class_names or []
    return {name: (split.reader(k), classes[split.labels[k]]) for k, name in enumerate(names)}


def checksum(path: Path | str, source: str = "shards") -> str:
    (file,) = source_of(selection(path, path, source=source)).files(Path("raw"), "test")
    return file.sha256
