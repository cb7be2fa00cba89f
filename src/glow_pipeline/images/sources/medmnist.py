"""The twelve 2D sets of MedMNIST v2 and v3 (https://medmnist.com, Yang et al. 2023), at 28, 64, 128 and 224 pixels.

Each set and size is one .npz file of `train_images`, `train_labels`, `val_images`, ..., `test_labels`. They are read
as a stream, because TissueMNIST at 224 pixels is 12 GB and the medmnist package loads all of an array. The package
knows the addresses and checksums.

A .npz that was put there by hand is used if it is complete, whatever its md5: there are several versions, and
each array has its checksum in the file. The table's record has the SHA-256 of the one that was used.
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.remote import RemoteFile, digests
from glow_pipeline.images.sources.source import ArraySplit, Source, SourceFile, Split

CHUNK_BYTES = 2**23
FOLDER = "medmnist"
SIZES = (28, 64, 128, 224)
# Exceptions that zipfile and NumPy raised on damaged files; tests/images/sources/test_medmnist.py damages some.
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)

# name, title, channels, classes, published numbers of images
SETS = (
    ("pathmnist", "colon pathology", 3, 9, (89_996, 10_004, 7_180)),
    ("chestmnist", "chest X-rays", 1, 15, (78_468, 11_219, 22_433)),
    ("dermamnist", "skin lesions", 3, 7, (7_007, 1_003, 2_005)),
    ("octmnist", "retinal OCT", 1, 4, (97_477, 10_832, 1_000)),
    ("pneumoniamnist", "chest X-rays, normal and pneumonia", 1, 2, (4_708, 524, 624)),
    ("retinamnist", "fundus photographs", 3, 5, (1_080, 120, 400)),
    ("breastmnist", "breast ultrasound", 1, 2, (546, 78, 156)),
    ("bloodmnist", "blood cells", 3, 8, (11_959, 1_712, 3_421)),
    ("tissuemnist", "kidney cortex cells", 1, 8, (165_466, 23_640, 47_280)),
    ("organamnist", "abdominal CT, axial", 1, 11, (34_561, 6_491, 17_778)),
    ("organcmnist", "abdominal CT, coronal", 1, 11, (12_975, 2_392, 8_216)),
    ("organsmnist", "abdominal CT, sagittal", 1, 11, (13_932, 2_452, 8_827)),
)


def _files(name: str, flag: str, raw: Path, _split: Split) -> list[SourceFile]:
    path = raw / FOLDER / f"{flag}.npz"
    if path.is_file():
        return [SourceFile(path, digests(path)[1])]
    from medmnist.info import INFO  # here, because it takes seconds

    suffix = flag.removeprefix(name)
    remote = RemoteFile(path.name, INFO[name][f"MD5{suffix}"], (INFO[name][f"url{suffix}"],))
    return [remote.verified(path.parent)]


def _open(files: Sequence[Path], split: Split) -> ArraySplit:
    parts = ("train", "val") if split == "train" else ("test",)
    labels = [_labels(files[0], f"{part}_labels") for part in parts]
    return ArraySplit(
        np.concatenate(labels),
        partial(_read, files[0], [f"{part}_images" for part in parts]),
        own_validation=len(labels[1]) if split == "train" else 0,
    )


def _labels(path: Path, name: str) -> NDArray[np.int64]:
    with _opened(path, name) as stream:
        labels: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
        if labels.dtype.kind not in "biu" or labels.ndim not in (1, 2):
            raise ValueError(f"labels are whole numbers (n, k), these are {labels.dtype} {labels.shape}")
        return _single_label(labels)


def _single_label(labels: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return one class an image (n,) of labels (n, 1), or of several findings (ChestMNIST: n, 14).

    The class of several findings is 0 for none, else 1 + the first one that is present.
    """
    found = labels.astype(np.int64).reshape(len(labels), -1)
    if found.shape[1] == 1:
        return found[:, 0]
    return np.where(found.any(axis=1), 1 + found.argmax(axis=1), 0)


def _read(path: Path, names: Sequence[str]) -> Iterator[Tensor]:
    """Yield images uint8 (some, 1 or 3, h, w)."""
    for name in names:
        with _opened(path, name) as stream:
            yield from _images(stream)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open the .npy file of an array for a block that reads it.

    Raises:
        GlowPipelineError: the array is absent, damaged, or of another kind.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            yield stream
    except DAMAGED as damaged:
        reason = " ".join(str(damaged).split())
        raise GlowPipelineError(
            f"{path}: {name} cannot be read ({reason}); remove the file, and it is fetched again"
        ) from None


def _images(stream: IO[bytes]) -> Iterator[Tensor]:
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(stream)
    if fortran_order or dtype != np.uint8 or len(shape) < 3 or shape[3:] not in ((), (3,)) or 0 in shape[1:]:
        raise ValueError(f"images are uint8 (n, h, w[, 3]), these are {dtype} {shape}")
    count, image = shape[0], shape[1:]
    pixels = int(np.prod(image))
    size = max(1, CHUNK_BYTES // pixels)
    for start in range(0, count, size):
        n = min(size, count - start)
        block = np.frombuffer(stream.read(n * pixels), np.uint8).reshape(n, *image)
        rows = torch.from_numpy(block.copy())
        yield rows.permute(0, 3, 1, 2) if rows.ndim == 4 else rows[:, None]
    stream.read()  # to the end, where zipfile compares the checksum


def _source(name: str, title: str, channels: int, num_classes: int, counts: tuple[int, int, int], size: int) -> Source:
    flag = name if size == 28 else f"{name}_{size}"
    default = 32 if size == 28 else size
    return Source(
        name=flag,
        title=title,
        channels=channels,
        n_bits=8,
        size=(size, size),
        default_size=(default, default),
        num_classes=num_classes,
        licence="CC BY-NC 4.0" if name == "dermamnist" else "CC BY 4.0",
        counts=counts,
        files=partial(_files, name, flag),
        open=_open,
        paths=lambda raw, _split: [raw / FOLDER / f"{flag}.npz"],
    )


MEDMNIST = [_source(*row, size) for row in SETS for size in SIZES]
