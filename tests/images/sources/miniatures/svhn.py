"""SVHN: compressed MATLAB 5 files."""

import io
from functools import cache

import numpy as np
from scipy.io import savemat

from glow_pipeline.images.sources.source import Split
from tests.images.sources.contract import Expected, Miniature

# 10 is the digit 0.
DIGITS: dict[Split, list[int]] = {"train": [2, 10, 5, 1], "test": [10, 1, 9, 10, 3, 2, 7]}


def matlab(**variables: object) -> bytes:
    """Return a MATLAB 5 file, compressed, as the published ones are."""
    written = io.BytesIO()
    savemat(written, variables, do_compression=True)
    return written.getvalue()


@cache
def miniature() -> Miniature:
    files: dict[str, bytes] = {}
    expected: dict[Split, Expected] = {}
    for seed, (split, digits) in enumerate(DIGITS.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, len(digits)), dtype=np.uint8)
        files[f"svhn/{split}_32x32.mat"] = matlab(X=pixels, y=np.array(digits, dtype=np.uint8)[:, None])
        expected[split] = Expected([pixels[:, :, :, i] for i in range(len(digits))], [digit % 10 for digit in digits])
    needed = {split: [f"svhn/{split}_32x32.mat"] for split in DIGITS}
    return Miniature("svhn", files, needed, expected, chunk=("glow_pipeline.images.sources.svhn.CHUNK", 3))


MINIATURES = {"svhn": miniature}
