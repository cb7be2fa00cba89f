"""CIFAR-10 and CIFAR-100: the binary archives, with few records."""

from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import tar_of
from tests.images.sources.contract import Expected, Miniature

FILES = {"cifar10": "cifar/cifar-10-binary.tar.gz", "cifar100": "cifar/cifar-100-binary.tar.gz"}
# Members and their numbers of images; not in the order of the batches.
MEMBERS = {
    "cifar10": {
        "cifar-10-batches-bin/test_batch.bin": 4,
        "cifar-10-batches-bin/data_batch_4.bin": 3,
        "cifar-10-batches-bin/data_batch_1.bin": 5,
        "cifar-10-batches-bin/data_batch_5.bin": 1,
        "cifar-10-batches-bin/data_batch_3.bin": 2,
        "cifar-10-batches-bin/data_batch_2.bin": 3,
    },
    "cifar100": {"cifar-100-binary/test.bin": 4, "cifar-100-binary/train.bin": 6},
}
ORDER: dict[str, dict[Split, list[str]]] = {
    "cifar10": {
        "train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in (1, 2, 3, 4, 5)],
        "test": ["cifar-10-batches-bin/test_batch.bin"],
    },
    "cifar100": {"train": ["cifar-100-binary/train.bin"], "test": ["cifar-100-binary/test.bin"]},
}


def pictures(member: str, count: int) -> NDArray[np.uint8]:
    """Return noise uint8 (count, 32, 32, 3), another one for each member."""
    return np.random.default_rng(sum(member.encode())).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def classes(member: str, count: int, num_classes: int) -> list[int]:
    return [(sum(member.encode()) + 7 * i) % num_classes for i in range(count)]


def records(source: str, member: str, count: int) -> bytes:
    """Return `<label><red><green><blue>` of each image; CIFAR-100 has the coarse label first."""
    written = b""
    labels = classes(member, count, SOURCES[source].num_classes)
    for picture, label in zip(pictures(member, count), labels, strict=True):
        written += bytes([label] if source == "cifar10" else [label // 5, label])
        written += b"".join(picture[:, :, colour].tobytes() for colour in range(3))
    return written


def members(source: str) -> dict[str, bytes]:
    inside = {member: records(source, member, count) for member, count in MEMBERS[source].items()}
    folder = next(iter(inside)).partition("/")[0]
    return {f"{folder}/batches.meta.txt": b"airplane\n", **inside, f"{folder}/readme.html": b"<html>"}


@cache
def miniature(source: str) -> Miniature:
    counts = MEMBERS[source]
    expected = {
        split: Expected(
            [picture for member in order for picture in pictures(member, counts[member])],
            [k for member in order for k in classes(member, counts[member], SOURCES[source].num_classes)],
        )
        for split, order in ORDER[source].items()
    }
    file = FILES[source]
    return Miniature(
        source,
        {file: tar_of(members(source), "w:gz")},
        {"train": [file], "test": [file]},
        expected,
        chunk=("glow_pipeline.images.sources.cifar.CHUNK", 2),
    )


MINIATURES = {source: partial(miniature, source) for source in FILES}
