"""CelebA (Liu et al. 2015, http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html), aligned and cropped, read in place.

The class is one of the forty attributes of `list_attr_celeba.txt`: 1 where `Smiling` is 1, else 0.
`list_eval_partition.txt` gives each image's split: 0 train, 1 validation, 2 test.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.archives import DAMAGED_ZIP, ZipImages
from glow_pipeline.images.sources.names import Names
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import EncodedSplit, Source, Split

ATTRIBUTE = "Smiling"
MANUAL = "the Google Drive that http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html links to (it refuses programs)"
IMAGES = RemoteFile("img_align_celeba.zip", "00d2c5bc6d35e252742224ab0c1e8fcb", manual=MANUAL)
ATTRIBUTES = RemoteFile("list_attr_celeba.txt", "75e246fa4810816ffd6ee81facbd244c", manual=MANUAL)
PARTITION = RemoteFile("list_eval_partition.txt", "d32c9cbf5e040fd4025c592c306e6668", manual=MANUAL)
PUBLISHED = Published("celeba", lambda _split: [IMAGES, ATTRIBUTES, PARTITION])


def _open(files: Sequence[Path], split: Split) -> EncodedSplit:
    archive, attributes, partition = files
    try:
        lines = attributes.read_text().splitlines()
        column = lines[1].split().index(ATTRIBUTE)
        label_of = {row[0]: int(row[1 + column] == "1") for row in (line.split() for line in lines[2:]) if row}
        part_of = {row[0]: int(row[1]) for row in (line.split() for line in partition.read_text().splitlines()) if row}
        parts = (0, 1) if split == "train" else (2,)
        by_part = [[name for name, part in part_of.items() if part == wanted] for wanted in parts]
        names = [name for part in by_part for name in part]
        labels = np.array([label_of[name] for name in names], dtype=np.int64)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as damaged:
        raise GlowPipelineError(
            f"{attributes}: does not fit {partition.name} ({damaged}); fetch both again, from {MANUAL}"
        ) from None
    try:
        zipfile.ZipFile(archive).close()
    except DAMAGED_ZIP as damaged:
        raise GlowPipelineError(f"{archive}: not a complete zip archive ({damaged}); fetch it again") from None
    reader = ZipImages(archive, Names([f"img_align_celeba/{name}" for name in names]))
    return EncodedSplit(labels, reader, own_validation=len(by_part[1]) if split == "train" else 0)


CELEBA = Source(
    name="celeba",
    title="faces",
    channels=3,
    n_bits=8,
    size=(218, 178),
    default_size=(64, 64),
    num_classes=2,
    licence="non-commercial research",
    counts=(162_770, 19_867, 19_962),
    files=PUBLISHED.files,
    open=_open,
    paths=PUBLISHED.paths,
    manual=MANUAL,
)
