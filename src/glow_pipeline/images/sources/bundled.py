"""Real images that come inside the wheels of scikit-learn and scikit-image: no network, no download."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.images.sources.source import ArraySplit, Source, SourceFile, Split

# Consecutive digits tend to be of one writer, so a test split from the end shares fewer writers with the
# training images than one drawn at random. One image in six, as many as MNIST holds out.
DIGITS_TRAIN = 1500

PATCH = 32
PATCH_MIN_STD = 10.0
PHOTOGRAPHS = {
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    "skimage": [
        "data/astronaut.png",
        "data/brick.png",
        "data/camera.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/coins.png",
        "data/grass.png",
        "data/gravel.png",
        "data/ihc.png",
        "data/moon.png",
        "data/motorcycle_left.png",
        "data/rocket.jpg",
    ],
}


def _package_folder(package: str) -> Path:
    """Return the folder of a package without importing it: scikit-learn takes seconds."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise GlowPipelineError(f"{package}: not installed, but its images are requested; run `make install`")
    return Path(spec.origin).parent


def _digits_files(_raw: Path, _split: Split) -> list[SourceFile]:
    return _verified([_package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz"])


def _open_digits(files: Sequence[Path], split: Split) -> ArraySplit:
    table = np.loadtxt(files[0], delimiter=",")
    rows = slice(None, DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    # 17 grey levels, 0 to 16, spread over 8 bits; the reduction to 4 bits then joins levels 8 and 9.
    images = torch.from_numpy(np.rint(table[rows, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8))
    return ArraySplit(table[rows, -1].astype(np.int64), lambda: iter([images]))


def _photograph_files(_raw: Path, _split: Split) -> list[SourceFile]:
    return _verified([_package_folder(package) / name for package, names in PHOTOGRAPHS.items() for name in names])


def _open_photographs(files: Sequence[Path], split: Split) -> ArraySplit:
    patches = [_patches(file, split) for file in files]
    labels = np.repeat(np.arange(len(files)), [len(some) for some in patches])
    return ArraySplit(labels, lambda: iter(patches))


def _verified(paths: list[Path]) -> list[SourceFile]:
    """Return files of a wheel, which pip has verified, with their checksums."""
    return [SourceFile(path, sha256(path)) for path in paths]


def _patches(file: Path, split: Split) -> Tensor:
    """Cut a photograph into adjacent patches uint8 (n, 3, 32, 32): the lowest quarter of its rows is for testing.

    Patches without texture (a black or blurred background) are left out.
    """
    photograph = torch.from_numpy(np.array(Image.open(file).convert("RGB")))
    rows, columns = photograph.shape[0] // PATCH, photograph.shape[1] // PATCH
    photograph = photograph[: rows * PATCH, : columns * PATCH].permute(2, 0, 1)
    grid = photograph.reshape(3, rows, PATCH, columns, PATCH).permute(1, 3, 0, 2, 4)
    n_train = rows - rows // 4
    band = grid[:n_train] if split == "train" else grid[n_train:]
    patches = band.reshape(-1, 3, PATCH, PATCH)
    brightness = patches.float().mean(dim=1).flatten(1)
    return patches[brightness.std(dim=1) >= PATCH_MIN_STD]


DIGITS = Source(
    name="digits",
    title="handwritten digits",
    channels=1,
    size=(8, 8),
    default_size=(8, 8),
    n_bits=4,
    num_classes=10,
    licence="CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)",
    counts=(DIGITS_TRAIN, 0, 1797 - DIGITS_TRAIN),
    files=_digits_files,
    open=_open_digits,
    mirrors=False,
)

TEXTURES = Source(
    name="textures",
    title="patches of photographs",
    channels=3,
    size=(PATCH, PATCH),
    default_size=(PATCH, PATCH),
    n_bits=8,
    num_classes=sum(len(names) for names in PHOTOGRAPHS.values()),
    licence="public domain or CC (each photograph as scikit-learn and scikit-image state it)",
    counts=(1_810, 0, 612),
    files=_photograph_files,
    open=_open_photographs,
)
