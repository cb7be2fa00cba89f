import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.sources import bundled
from glow_pipeline.images.sources.bundled import DIGITS, TEXTURES
from glow_pipeline.images.sources.source import ArraySplit, Source, Split

Images = tuple[Tensor, NDArray[np.int64]]


def read(source: Source, split: Split, raw: Path) -> Images:
    opened = source.open([file.path for file in source.files(raw, split)], split)
    assert isinstance(opened, ArraySplit)
    assert opened.own_validation == 0
    return torch.cat(list(opened.read())), opened.labels


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[Split, Images]:
    raw = tmp_path_factory.mktemp("raw")
    return {"train": read(DIGITS, "train", raw), "test": read(DIGITS, "test", raw)}


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> dict[Split, Images]:
    raw = tmp_path_factory.mktemp("raw")
    return {"train": read(TEXTURES, "train", raw), "test": read(TEXTURES, "test", raw)}


@pytest.fixture(scope="module")
def sklearn_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    bunch = load_digits()
    return bunch.images, bunch.target


@pytest.mark.parametrize(("split", "n"), [("train", 1500), ("test", 297)])
def test_digits_have_their_number_and_shape(digits: dict[Split, Images], split: Split, n: int) -> None:
    images, labels = digits[split]
    assert images.shape == (n, 1, 8, 8)
    assert images.dtype == torch.uint8
    assert labels.shape == (n,)
    assert labels.dtype == np.int64
    assert DIGITS.counts[0 if split == "train" else 2] == n


def test_digits_are_the_pixels_of_scikit_learn_spread_over_8_bits(
    digits: dict[Split, Images], sklearn_digits: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> None:
    images = torch.cat([digits["train"][0], digits["test"][0]])[:, 0].numpy()
    assert np.array_equal(images, np.rint(sklearn_digits[0] * 255 / 16))
    assert (images.min(), images.max()) == (0, 255)


def test_digits_have_the_labels_of_scikit_learn(
    digits: dict[Split, Images], sklearn_digits: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> None:
    labels = np.concatenate([digits["train"][1], digits["test"][1]])
    assert np.array_equal(labels, sklearn_digits[1])
    assert set(labels) == set(range(DIGITS.num_classes))


def test_digits_have_16_levels_at_their_own_4_bits(
    digits: dict[Split, Images], sklearn_digits: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> None:
    image_format = ImageFormat(channels=1, height=8, width=8, n_bits=DIGITS.n_bits, fit="resize")
    reduced = prepare(digits["train"][0], image_format)[:, 0].numpy()
    assert np.array_equal(np.unique(reduced), np.arange(16))
    # One level off the 17 that the file has, at most.
    difference = sklearn_digits[0][:1500] - reduced
    assert difference.min() == 0
    assert difference.max() == 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_textures_have_their_number_shape_and_classes(textures: dict[Split, Images], split: Split) -> None:
    images, labels = textures[split]
    assert images.shape[1:] == (3, 32, 32)
    assert images.dtype == torch.uint8
    assert len(images) == len(labels) == TEXTURES.counts[0 if split == "train" else 2]
    assert labels.dtype == np.int64
    assert np.unique(labels).tolist() == list(range(TEXTURES.num_classes))


def test_textures_are_enough_to_measure_detection(textures: dict[Split, Images]) -> None:
    assert len(textures["train"][0]) > 1000
    assert len(textures["test"][0]) > 300


def test_textures_are_the_same_each_time(textures: dict[Split, Images], tmp_path: Path) -> None:
    images, labels = read(TEXTURES, "test", tmp_path)
    assert torch.equal(images, textures["test"][0])
    assert np.array_equal(labels, textures["test"][1])


def test_no_texture_is_in_both_splits(textures: dict[Split, Images]) -> None:
    digests = {
        split: {hashlib.sha256(image.numpy().tobytes()).digest() for image in images}
        for split, (images, _) in textures.items()
    }
    assert digests["train"].isdisjoint(digests["test"])
    assert len(digests["test"]) == len(textures["test"][0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_texture_is_without_contrast(textures: dict[Split, Images], split: Split) -> None:
    brightness = textures[split][0].numpy().astype(np.float64).mean(axis=1)
    assert brightness.reshape(len(brightness), -1).std(axis=1, ddof=1).min() >= bundled.PATCH_MIN_STD - 1e-3


def test_textures_are_patches_of_the_photographs_side_by_side(textures: dict[Split, Images], tmp_path: Path) -> None:
    label = 2  # the astronaut, 512x512: 16 rows of 16 patches, the lowest 4 rows are test
    file = TEXTURES.files(tmp_path, "train")[label].path
    assert file.stem == "astronaut"
    photograph = np.array(Image.open(file).convert("RGB"))
    assert photograph.shape == (512, 512, 3)
    bands: dict[Split, range] = {"train": range(12), "test": range(12, 16)}
    for split, rows in bands.items():
        patches = [photograph[32 * i : 32 * i + 32, 32 * j : 32 * j + 32] for i in rows for j in range(16)]
        textured = [patch for patch in patches if patch.astype(np.float64).mean(axis=2).std(ddof=1) >= 10]
        images, labels = textures[split]
        assert np.array_equal(images[labels == label].permute(0, 2, 3, 1).numpy(), np.stack(textured))


def test_the_bundled_sources_need_no_raw_folder(tmp_path: Path) -> None:
    for source in (DIGITS, TEXTURES):
        for file in source.files(tmp_path / "absent", "train"):
            assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "find_spec", lambda package: None)
    with pytest.raises(GlowPipelineError, match=r"^sklearn: not installed.*make install"):
        DIGITS.files(tmp_path, "train")
