"""MedMNIST: one .npz a set and size."""

import io
from functools import cache, partial

import numpy as np
from medmnist import INFO
from numpy.typing import NDArray

from glow_pipeline.images.sources.medmnist import MEDMNIST
from glow_pipeline.images.sources.source import Split
from tests.images.sources.contract import Expected, Miniature

COUNTS = {"train": 6, "val": 4, "test": 3}
PARTS: dict[Split, tuple[str, ...]] = {"train": ("train", "val"), "test": ("test",)}


def arrays(flag: str) -> dict[str, NDArray[np.generic]]:
    """Return the six arrays of a small set, with the shapes and types of the published ones."""
    name, _, size = flag.partition("_")
    random = np.random.default_rng(len(flag))
    image = (int(size or 28),) * 2 + ((3,) if INFO[name]["n_channels"] == 3 else ())
    made: dict[str, NDArray[np.generic]] = {}
    for part, count in COUNTS.items():
        made[f"{part}_images"] = random.integers(0, 256, (count, *image), dtype=np.uint8)
        if "multi-label" in INFO[name]["task"]:
            made[f"{part}_labels"] = random.integers(0, 2, (count, len(INFO[name]["label"])), dtype=np.uint8)
        else:
            labels = random.integers(0, len(INFO[name]["label"]), (count, 1), dtype=np.uint8)
            labels[:2, 0] = 1, 0
            made[f"{part}_labels"] = labels
    return made


def npz(changed: dict[str, NDArray[np.generic]] | None = None, *, flag: str = "octmnist") -> bytes:
    """Return the set as a file, with some arrays in place of its own."""
    written = io.BytesIO()
    np.savez_compressed(written, **(arrays(flag) | (changed or {})))  # type: ignore[arg-type]  # no array is a flag
    return written.getvalue()


def first_finding(labels: NDArray[np.generic]) -> int:
    """Return the class of one image's labels: of several findings 0 for none, else 1 + the first."""
    if len(labels) == 1:
        return int(labels[0])
    return next((1 + k for k, found in enumerate(labels) if found), 0)


@cache
def miniature(flag: str) -> Miniature:
    made = arrays(flag)
    expected = {
        split: Expected(
            [np.atleast_3d(image) for part in parts for image in made[f"{part}_images"]],
            [first_finding(labels) for part in parts for labels in made[f"{part}_labels"]],
            own_validation=COUNTS["val"] if split == "train" else 0,
        )
        for split, parts in PARTS.items()
    }
    file = f"medmnist/{flag}.npz"
    return Miniature(
        flag,
        {file: npz(flag=flag)},
        {"train": [file], "test": [file]},
        expected,
        chunk=("glow_pipeline.images.sources.medmnist.CHUNK_BYTES", 3 * made["test_images"][0].size - 1),
    )


MINIATURES = {source.name: partial(miniature, source.name) for source in MEDMNIST}
