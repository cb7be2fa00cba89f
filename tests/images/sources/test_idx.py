import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import datasets

from glow_pipeline.images.sources.idx import FASHIONMNIST, MNIST
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Source
from tests.images.sources.contract import SPLITS, error_of, images_of
from tests.images.sources.miniatures.idx import idx_file, miniature, paths

each = pytest.mark.parametrize("source", [MNIST, FASHIONMNIST], ids=["MNIST", "FashionMNIST"])


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Images and labels."""
    made = [tmp_path / Path(path).name for path in paths("MNIST", "train")]
    for file, path in zip(made, paths("MNIST", "train"), strict=True):
        file.write_bytes(miniature("mnist", "MNIST").files[path])
    return made


def test_image_size_is_read_from_the_header(files: list[Path]) -> None:
    wide = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    files[0].write_bytes(idx_file(wide))
    split = MNIST.open(files, "train")
    assert isinstance(split, ArraySplit)
    assert np.array_equal(torch.cat(list(split.read())).numpy()[:, 0], wide)


@each
def test_files_are_those_that_torchvision_knows(
    requested: list[tuple[Path, RemoteFile]], tmp_path: Path, source: Source
) -> None:
    known = datasets.MNIST if source is MNIST else datasets.FashionMNIST
    for split in SPLITS:
        source.files(tmp_path, split)
    assert {file.name: file.md5 for _, file in requested} == dict(known.resources)
    for _, file in requested:
        assert sorted(file.urls) == sorted(f"{mirror}{file.name}" for mirror in known.mirrors)


def flipped(content: bytes) -> bytes:
    """Set the first block's type to 3, which does not exist."""
    return content[:10] + bytes([content[10] | 0b110]) + content[11:]


@pytest.mark.parametrize("which", [0, 1], ids=["images", "labels"])
@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        gzip.decompress,
        lambda content: gzip.compress(b""),
        lambda content: gzip.compress(gzip.decompress(content)[:6]),  # within the header
        lambda content: gzip.compress(gzip.decompress(content)[:2] + b"\x08\x02" + bytes(8)),  # a table
    ],
    ids=["flipped", "unzipped", "zipped nothing", "half a header", "two dimensions"],
)
def test_file_of_another_kind_is_refused(files: list[Path], which: int, damage: Callable[[bytes], bytes]) -> None:
    files[which].write_bytes(damage(files[which].read_bytes()))
    message = error_of(lambda: images_of(MNIST.open(files, "train")))
    assert message.startswith(f"{files[which]}: not a complete IDX file (")
    assert message.endswith("); fetch it again")


def test_swapped_images_and_labels_are_refused(files: list[Path]) -> None:
    assert "not a complete IDX file" in error_of(lambda: images_of(MNIST.open(files[::-1], "train")))


# The real files ------------------------------------------------------------------------------

REAL = Path(os.environ.get("GLOW_TEST_DATA", "absent")).absolute()
real = pytest.mark.skipif(
    not all((REAL / name / "raw").is_dir() for name in ("MNIST", "FashionMNIST")),
    reason="GLOW_TEST_DATA names no folder with MNIST/raw and FashionMNIST/raw",
)


def read(split: ArraySplit) -> Tensor:
    return torch.cat(list(split.read()))


@real
@each
def test_real_test_images_are_as_torchvision_reads_them(tmp_path: Path, source: Source) -> None:
    known = datasets.MNIST if source is MNIST else datasets.FashionMNIST
    unzipped = tmp_path / known.__name__ / "raw"
    unzipped.mkdir(parents=True)
    for packed in (REAL / known.__name__ / "raw").glob("*.gz"):
        # torchvision looks for all four, and reads two.
        content = gzip.decompress(packed.read_bytes()) if packed.name.startswith("t10k") else b""
        (unzipped / packed.stem).write_bytes(content)
    expected = known(tmp_path, train=False)
    split = source.open([file.path for file in source.files(REAL, "test")], "test")
    assert isinstance(split, ArraySplit)
    images = read(split)
    assert images.shape == (source.counts[2], 1, 28, 28)
    assert torch.equal(images[:, 0], expected.data)
    assert np.array_equal(split.labels, expected.targets.numpy())


@real
@each
def test_real_training_images_have_all_classes(source: Source) -> None:
    split = source.open([file.path for file in source.files(REAL, "train")], "train")
    assert isinstance(split, ArraySplit)
    assert len(split.labels) == source.counts[0] == 60_000
    assert set(split.labels) == set(range(source.num_classes))
    assert sum(len(piece) for piece in split.read()) == 60_000


@real
def test_real_mnist_has_the_known_brightness() -> None:
    split = MNIST.open([file.path for file in MNIST.files(REAL, "train")], "train")
    assert isinstance(split, ArraySplit)
    total = sum(piece.sum().item() for piece in split.read())
    assert total / (60_000 * 28 * 28 * 255) == pytest.approx(0.1307, abs=5e-5)
