"""Tiny ImageNet: the zip of Stanford's CS231n course, read in place.

Training images are in `train/<wnid>/images/`; the 10,000 of `val/images/`, whose classes are in
`val/val_annotations.txt`, are for testing, since those of `test/` have no labels. Classes are the lines of
`wnids.txt`, sorted.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.archives import DAMAGED_ZIP, ZipImages
from glow_pipeline.images.sources.names import Names
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import EncodedSplit, Source, Split

ROOT = "tiny-imagenet-200"
REMOTE = RemoteFile(
    "tiny-imagenet-200.zip",
    "90528d7ca1a48142e341f4ef8d21d0de",
    ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
)
PUBLISHED = Published("tinyimagenet", lambda _split: [REMOTE])


def _open(files: Sequence[Path], split: Split) -> EncodedSplit:
    path = files[0]
    try:
        with zipfile.ZipFile(path) as archive:
            wnids = archive.read(f"{ROOT}/wnids.txt").decode().split()
            label_of = {wnid: label for label, wnid in enumerate(sorted(wnids))}
            if split == "train":
                inside = [PurePosixPath(name) for name in archive.namelist() if name.startswith(f"{ROOT}/train/")]
                images = {str(path): path.parts[2] for path in inside if path.suffix == ".JPEG"}
            else:
                lines = archive.read(f"{ROOT}/val/val_annotations.txt").decode().splitlines()
                images = {f"{ROOT}/val/images/{line.split()[0]}": line.split()[1] for line in lines if line.strip()}
            labels = [label_of[wnid] for wnid in images.values()]
    except (*DAMAGED_ZIP, KeyError, IndexError) as damaged:
        raise GlowPipelineError(f"{path}: not a complete Tiny ImageNet archive ({damaged}); fetch it again") from None
    return EncodedSplit(np.array(labels, dtype=np.int64), ZipImages(path, Names(list(images))))


TINYIMAGENET = Source(
    name="tinyimagenet",
    title="things of 200 kinds",
    channels=3,
    n_bits=8,
    size=(64, 64),
    default_size=(64, 64),
    num_classes=200,
    licence="non-commercial research, as ImageNet",
    counts=(100_000, 0, 10_000),
    files=PUBLISHED.files,
    open=_open,
    paths=PUBLISHED.paths,
)
