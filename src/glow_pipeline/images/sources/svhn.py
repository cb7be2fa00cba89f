"""Street View House Numbers, cropped digits: MATLAB files of http://ufldl.stanford.edu/housenumbers/

`X` is uint8 (32, 32, 3, n), `y` is (n, 1) with 10 for the digit 0, which becomes 0 here, as in torchvision.
"""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Source, Split

CHUNK = 4096
BASE = "http://ufldl.stanford.edu/housenumbers/"
REMOTE: dict[Split, RemoteFile] = {
    "train": RemoteFile("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", (f"{BASE}train_32x32.mat",)),
    "test": RemoteFile("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", (f"{BASE}test_32x32.mat",)),
}
PUBLISHED = Published("svhn", lambda split: [REMOTE[split]])


def _open(files: Sequence[Path], _split: Split) -> ArraySplit:
    labels = _load(files[0], "y").astype(np.int64).reshape(-1) % 10
    return ArraySplit(labels, lambda: _read(files[0]))


def _read(path: Path) -> Iterator[Tensor]:
    # SciPy reads all of a variable: 225 MB for the training images.
    images = _load(path, "X")
    for start in range(0, images.shape[3], CHUNK):
        chunk = images[:, :, :, start : start + CHUNK].transpose(3, 2, 0, 1)
        yield torch.from_numpy(np.ascontiguousarray(chunk))


def _load(path: Path, name: str) -> Any:
    from scipy.io import loadmat  # here, because it takes half a second and most runs read tables only
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(path, variable_names=[name])[name]
    except (MatReadError, KeyError, IndexError, ValueError, TypeError, OSError, zlib.error) as damaged:
        raise GlowPipelineError(f"{path}: not a complete SVHN file ({damaged}); fetch it again") from None


SVHN = Source(
    name="svhn",
    title="house numbers",
    channels=3,
    n_bits=8,
    size=(32, 32),
    default_size=(32, 32),
    num_classes=10,
    licence="non-commercial use only",
    counts=(73_257, 0, 26_032),
    files=PUBLISHED.files,
    open=_open,
    paths=PUBLISHED.paths,
    mirrors=False,
)
