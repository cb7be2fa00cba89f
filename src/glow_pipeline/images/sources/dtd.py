"""Describable Textures (Cimpoi et al. 2014, https://www.robots.ox.ac.uk/~vgg/data/dtd/), release 1.0.1, partition 1.

`labels/train1.txt`, `val1.txt` and `test1.txt` list `<class>/<file>` below `images/`; classes are sorted by name.
The archive is gzipped, which cannot be read from the middle, so it is unzipped once, to a .tar beside it.
"""

import gzip
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256, written_whole
from glow_pipeline.images.sources.archives import TarImages, read_text, tar_members
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import EncodedSplit, Source, SourceFile, Split

PARTITION = 1
REMOTE = RemoteFile(
    "dtd-r1.0.1.tar.gz",
    "fff73e5086ae6bdbea199a49dfb8a4c1",
    ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
)
PUBLISHED = Published("dtd", lambda _split: [REMOTE])


def _files(raw: Path, split: Split) -> list[SourceFile]:
    (archive,) = PUBLISHED.files(raw, split)
    unzipped = archive.path.with_suffix("")
    if not unzipped.is_file():
        try:
            with gzip.open(archive.path) as packed, written_whole(unzipped) as temporary, temporary.open("wb") as file:
                shutil.copyfileobj(packed, file, 2**20)
        except (EOFError, gzip.BadGzipFile, zlib.error) as damaged:
            raise GlowPipelineError(f"{archive.path}: not a complete archive ({damaged}); fetch it again") from None
    return [archive, SourceFile(unzipped, sha256(unzipped))]


def _open(files: Sequence[Path], split: Split) -> EncodedSplit:
    archive = files[1]
    members = {member.name: member for member in tar_members(archive)}
    parts = ("train", "val") if split == "train" else ("test",)
    images, labels = TarImages(), []
    try:
        listed = [read_text(archive, members[f"dtd/labels/{part}{PARTITION}.txt"]).split() for part in parts]
        names = sorted({line.split("/")[0] for line in listed[0]})
        label_of = {name: label for label, name in enumerate(names)}
        for line in [line for part in listed for line in part]:
            images.append(archive, members[f"dtd/images/{line}"])
            labels.append(label_of[line.split("/")[0]])
    except (KeyError, UnicodeDecodeError) as damaged:
        raise GlowPipelineError(
            f"{archive}: its lists and its images do not fit together ({damaged}); delete it and fetch it again"
        ) from None
    return EncodedSplit(
        np.array(labels, dtype=np.int64), images, own_validation=len(listed[1]) if split == "train" else 0
    )


DTD = Source(
    name="dtd",
    title="textures",
    channels=3,
    n_bits=8,
    size=None,
    default_size=(128, 128),
    num_classes=47,
    licence="research only",
    counts=(1_880, 1_880, 1_880),
    files=_files,
    open=_open,
    paths=PUBLISHED.paths,
)
