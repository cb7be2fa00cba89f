"""CelebA: the zip archive and the two lists, with twelve faces."""

import zipfile
from functools import cache

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import jpeg, zip_of
from tests.images.sources.contract import Expected, Miniature, decoded

ZIP, ATTR, EVAL = (
    f"celeba/{name}" for name in ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt")
)
COUNT = 12
NAMES = [f"{i:06}.jpg" for i in range(1, COUNT + 1)]
# The true list has forty, in this order.
ATTRIBUTES = ("5_o_Clock_Shadow", "Arched_Eyebrows", "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Young")
VALUES = np.random.default_rng(0).choice([-1, 1], (COUNT, len(ATTRIBUTES)))
# 0 train, 1 validation, 2 test. In the true list they are one after another, which is not promised.
PARTS = [0, 0, 2, 1, 0, 2, 2, 0, 1, 0, 0, 2]


def images() -> dict[str, bytes]:
    files = {f"img_align_celeba/{name}": jpeg(i, (178, 218)) for i, name in enumerate(NAMES)}
    return {"img_align_celeba/": b""} | dict(reversed(files.items()))


def attributes_txt(values: NDArray[np.int64] = VALUES) -> bytes:
    """Return count, header with a space at its end, and rows with two spaces before each 1, as published."""
    rows = [f"{name} {' '.join(f'{value:>2}' for value in row)}" for name, row in zip(NAMES, values, strict=True)]
    return "\n".join([str(COUNT), f"{' '.join(ATTRIBUTES)} ", *rows, ""]).encode()


def partition_txt() -> bytes:
    return "".join(f"{name} {part}\n" for name, part in zip(NAMES, PARTS, strict=True)).encode()


@cache
def miniature() -> Miniature:
    files = images()
    parts: dict[Split, tuple[int, ...]] = {"train": (0, 1), "test": (2,)}
    expected: dict[Split, Expected] = {}
    for split, wanted in parts.items():
        rows = [i for part in wanted for i in range(COUNT) if PARTS[i] == part]
        names = [f"img_align_celeba/{NAMES[i]}" for i in rows]
        expected[split] = Expected(
            [decoded(files[name]) for name in names],
            [int(VALUES[i, ATTRIBUTES.index("Smiling")] > 0) for i in rows],
            names,
            own_validation=PARTS.count(1) if split == "train" else 0,
        )
    contents = {ZIP: zip_of(files, zipfile.ZIP_STORED), ATTR: attributes_txt(), EVAL: partition_txt()}
    needed = {split: [ZIP, ATTR, EVAL] for split in parts}
    return Miniature("celeba", contents, needed, expected, lists=frozenset({ATTR, EVAL}))


MINIATURES = {"celeba": miniature}
