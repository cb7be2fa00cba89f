"""The bundled sets are small and installed, so they are their own miniatures."""

from functools import cache

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from glow_pipeline.images.sources.bundled import PHOTOGRAPHS, TEXTURES
from tests.images.sources.contract import Expected, Miniature, Pixels

NO_FILES: dict[str, bytes] = {}


@cache
def digits() -> Miniature:
    """The first 1,500 digits of scikit-learn are for training; 17 levels are spread over 8 bits."""
    bunch = load_digits()
    images = [np.rint(image * 255 / 16).astype(np.uint8)[:, :, None] for image in bunch.images]
    labels = bunch.target.tolist()
    expected = {
        "train": Expected(images[:1500], labels[:1500]),
        "test": Expected(images[1500:], labels[1500:]),
    }
    return Miniature("digits", NO_FILES, {"train": [], "test": []}, expected)  # type: ignore[arg-type]


@cache
def textures() -> Miniature:
    """Patches with texture, by rows; those of the lowest quarter are for testing."""
    found: dict[str, tuple[list[Pixels], list[int]]] = {"train": ([], []), "test": ([], [])}
    files = [file.path for file in TEXTURES.files(None, "train")]  # type: ignore[arg-type]
    assert len(files) == sum(map(len, PHOTOGRAPHS.values()))
    for label, file in enumerate(files):
        photograph = np.array(Image.open(file).convert("RGB"))
        rows, columns = photograph.shape[0] // 32, photograph.shape[1] // 32
        for i in range(rows):
            for j in range(columns):
                patch = photograph[32 * i : 32 * i + 32, 32 * j : 32 * j + 32]
                if patch.astype(np.float64).mean(axis=2).std(ddof=1) >= 10:
                    images, labels = found["train" if i < rows - rows // 4 else "test"]
                    images.append(patch)
                    labels.append(label)
    expected = {split: Expected(*content) for split, content in found.items()}
    return Miniature("textures", NO_FILES, {"train": [], "test": []}, expected)  # type: ignore[arg-type]


MINIATURES = {"digits": digits, "textures": textures}
