import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources import idx
from glow_pipeline.images.sources.idx import FASHIONMNIST, MNIST
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Source, SourceFile, Split

SPLITS: tuple[Split, Split] = ("train", "test")
N = 7
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 28, 28), dtype=np.uint8)
CLASSES = np.arange(N, dtype=np.uint8) + 3


def idx_file(array: NDArray[np.uint8]) -> bytes:
    """The IDX format as yann.lecun.com/exdb/mnist describes it, gzipped: type 8 is unsigned byte."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Seven images and their labels."""
    images, labels = tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "train-labels-idx1-ubyte.gz"
    images.write_bytes(idx_file(PIXELS))
    labels.write_bytes(idx_file(CLASSES))
    return [images, labels]


def opened(source: Source, files: list[SourceFile], split: Split) -> ArraySplit:
    split_opened = source.open([file.path for file in files], split)
    assert isinstance(split_opened, ArraySplit)
    return split_opened


def read(files: list[Path]) -> tuple[Tensor, NDArray[np.int64]]:
    split = opened(MNIST, [SourceFile(file, "") for file in files], "train")
    return torch.cat(list(split.read())), split.labels


def test_idx_files_are_read_as_they_are_on_disk(files: list[Path]) -> None:
    images, labels = read(files)
    assert images.dtype == torch.uint8
    assert labels.dtype == np.int64
    assert np.array_equal(images.numpy(), PIXELS[:, None])
    assert np.array_equal(labels, CLASSES)


@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_files_have_no_validation_split_of_their_own(files: list[Path], split: Split) -> None:
    assert opened(MNIST, [SourceFile(file, "") for file in files], split).own_validation == 0


def test_a_set_larger_than_a_chunk_comes_in_pieces_and_order(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "CHUNK", 3)
    split = MNIST.open(files, "train")
    assert isinstance(split, ArraySplit)
    pieces = list(split.read())
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    assert np.array_equal(torch.cat(pieces).numpy()[:, 0], PIXELS)
    assert torch.equal(torch.cat(list(split.read())), torch.cat(pieces))


def test_images_of_another_size_are_read_by_their_header(files: list[Path]) -> None:
    wide = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    files[0].write_bytes(idx_file(wide))
    assert np.array_equal(read(files)[0].numpy()[:, 0], wide)


@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
@pytest.mark.parametrize(("source", "folder"), [(MNIST, "MNIST"), (FASHIONMNIST, "FashionMNIST")])
def test_a_split_asks_for_its_own_images_and_labels(
    asked_for: list[tuple[Path, RemoteFile]], tmp_path: Path, source: Source, folder: str, split: Split, prefix: str
) -> None:
    names = [f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"]
    assert [file.path for file in source.files(tmp_path, split)] == [tmp_path / folder / "raw" / name for name in names]
    assert [(where, file.name) for where, file in asked_for] == [(tmp_path / folder / "raw", name) for name in names]


@pytest.mark.parametrize("source", [MNIST, FASHIONMNIST], ids=["MNIST", "FashionMNIST"])
def test_the_published_files_are_those_that_torchvision_knows(
    asked_for: list[tuple[Path, RemoteFile]], tmp_path: Path, source: Source
) -> None:
    from torchvision import datasets

    known = datasets.MNIST if source is MNIST else datasets.FashionMNIST
    for split in SPLITS:
        source.files(tmp_path, split)
    assert {file.name: file.md5 for _, file in asked_for} == dict(known.resources)
    for _, file in asked_for:
        assert sorted(file.urls) == sorted(f"{mirror}{file.name}" for mirror in known.mirrors)


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """A bit of the first block's type: 3, which does not exist."""
    return content[:10] + bytes([content[10] | 0b110]) + content[11:]


@pytest.mark.parametrize("which", [0, 1], ids=["images", "labels"])
@pytest.mark.parametrize(
    "damage",
    [
        halved,
        flipped,
        lambda content: b"",
        lambda content: gzip.decompress(content),
        lambda content: gzip.compress(b""),
        lambda content: gzip.compress(gzip.decompress(content)[:6]),  # within the header
        lambda content: gzip.compress(gzip.decompress(content)[:2] + b"\x08\x02" + bytes(8)),  # a table
    ],
    ids=["half", "flipped", "empty", "unzipped", "zipped nothing", "half a header", "two dimensions"],
)
def test_a_damaged_file_is_named(files: list[Path], which: int, damage: object) -> None:
    assert callable(damage)
    files[which].write_bytes(damage(files[which].read_bytes()))
    with pytest.raises(GlowPipelineError) as raised:
        read(files)
    assert str(raised.value).startswith(f"{files[which]}: not a whole IDX file (")
    assert str(raised.value).endswith("); fetch it again")
    assert "\n" not in str(raised.value)


def test_images_and_labels_are_not_taken_for_each_other(files: list[Path]) -> None:
    with pytest.raises(GlowPipelineError, match="not a whole IDX file"):
        read(files[::-1])


# The real files ------------------------------------------------------------------------------

REAL = Path(os.environ.get("GLOW_TEST_DATA", "absent")).absolute()
real = pytest.mark.skipif(
    not all((REAL / name / "raw").is_dir() for name in ("MNIST", "FashionMNIST")),
    reason="GLOW_TEST_DATA names no folder with MNIST/raw and FashionMNIST/raw",
)


@real
@pytest.mark.parametrize("source", [MNIST, FASHIONMNIST], ids=["MNIST", "FashionMNIST"])
def test_real_test_images_are_as_torchvision_has_them(tmp_path: Path, source: Source) -> None:
    from torchvision import datasets

    known = datasets.MNIST if source is MNIST else datasets.FashionMNIST
    unzipped = tmp_path / known.__name__ / "raw"
    unzipped.mkdir(parents=True)
    for packed in (REAL / known.__name__ / "raw").glob("*.gz"):
        # It looks for all four, and reads two.
        content = gzip.decompress(packed.read_bytes()) if packed.name.startswith("t10k") else b""
        (unzipped / packed.stem).write_bytes(content)
    expected = known(tmp_path, train=False)

    split = opened(source, source.files(REAL, "test"), "test")
    images = torch.cat(list(split.read()))
    assert images.shape == (source.counts[2], 1, 28, 28)
    assert torch.equal(images[:, 0], expected.data)
    assert np.array_equal(split.labels, expected.targets.numpy())


@real
@pytest.mark.parametrize("source", [MNIST, FASHIONMNIST], ids=["MNIST", "FashionMNIST"])
def test_real_training_images_have_their_number_and_classes(source: Source) -> None:
    split = opened(source, source.files(REAL, "train"), "train")
    assert len(split.labels) == source.counts[0] == 60_000
    assert set(split.labels) == set(range(source.num_classes))
    assert sum(len(piece) for piece in split.read()) == 60_000


@real
def test_real_mnist_has_the_brightness_that_is_widely_quoted() -> None:
    split = opened(MNIST, MNIST.files(REAL, "train"), "train")
    total = sum(piece.sum().item() for piece in split.read())
    assert total / (60_000 * 28 * 28 * 255) == pytest.approx(0.1307, abs=5e-5)
