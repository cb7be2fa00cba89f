import gzip
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision import datasets

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images import torchvision_sets
from glow_pipeline.images.source import Split
from glow_pipeline.images.torchvision_sets import FASHIONMNIST, MNIST

N = {"train": 7, "t10k": 5}


def idx(array: NDArray[np.uint8]) -> bytes:
    """The IDX format as yann.lecun.com/exdb/mnist describes it, gzipped: type 8 is unsigned byte."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def images(prefix: str) -> NDArray[np.uint8]:
    return np.random.default_rng(N[prefix]).integers(0, 256, (N[prefix], 28, 28), dtype=np.uint8)


def labels(prefix: str) -> NDArray[np.uint8]:
    return np.arange(N[prefix], dtype=np.uint8) + (3 if prefix == "train" else 0)


def write_set(folder: Path) -> list[tuple[str, str]]:
    """Four small .gz files -> what torchvision keeps as `resources`: (name, md5)."""
    folder.mkdir(parents=True)
    resources = []
    for prefix in N:
        for name, array in (("images-idx3", images(prefix)), ("labels-idx1", labels(prefix))):
            file = folder / f"{prefix}-{name}-ubyte.gz"
            file.write_bytes(idx(array))
            resources.append((file.name, hashlib.md5(file.read_bytes()).hexdigest()))
    return resources


@pytest.fixture
def closed_mirror() -> str:
    """An address on this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_mirror: str) -> Path:
    """A raw folder with a small set in the place of MNIST, and no way to the network."""
    monkeypatch.setattr(datasets.MNIST, "resources", write_set(tmp_path / "MNIST" / "raw"))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [closed_mirror])
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


class Served(SimpleHTTPRequestHandler):
    """Serves files without talking about it."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def mirror(raw: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a mirror on this machine serves, behind one that does not answer."""
    folder = tmp_path_factory.mktemp("mirror")
    with HTTPServer(("127.0.0.1", 0), partial(Served, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(
            datasets.MNIST, "mirrors", [*datasets.MNIST.mirrors, f"http://127.0.0.1:{server.server_port}/"]
        )
        yield folder
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_idx_files_are_read_as_they_are_on_disk(raw: Path, split: Split, prefix: str) -> None:
    files = MNIST.files(raw, split)
    assert [file.name for file in files] == [f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"]
    assert MNIST.count(files, split) == N[prefix]
    (chunk,) = MNIST.read(files, split)
    assert chunk.images.dtype == torch.uint8
    assert chunk.labels.dtype == torch.int64
    assert np.array_equal(chunk.images.numpy(), images(prefix)[:, None])
    assert np.array_equal(chunk.labels.numpy(), labels(prefix))


def test_a_set_larger_than_a_chunk_comes_in_pieces_and_order(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_sets, "CHUNK", 3)
    chunks = list(MNIST.read(MNIST.files(raw, "train"), "train"))
    assert [len(chunk.images) for chunk in chunks] == [3, 3, 1]
    assert np.array_equal(torch.cat([chunk.images for chunk in chunks]).numpy()[:, 0], images("train"))
    assert np.array_equal(torch.cat([chunk.labels for chunk in chunks]).numpy(), labels("train"))


def test_images_of_another_size_are_read_by_their_header(raw: Path) -> None:
    wide = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    files = MNIST.files(raw, "test")
    files[0].write_bytes(idx(wide))
    (chunk,) = MNIST.read(files, "test")
    assert np.array_equal(chunk.images.numpy()[:, 0], wide)


def test_files_that_are_there_are_not_fetched(raw: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (raw / "MNIST" / "raw").iterdir()}
    MNIST.files(raw, "train")
    assert {file: file.stat().st_mtime_ns for file in (raw / "MNIST" / "raw").iterdir()} == before


def test_the_other_split_is_not_asked_for(raw: Path) -> None:
    (raw / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").unlink()
    assert all(file.is_file() for file in MNIST.files(raw, "test"))


def test_a_missing_file_is_fetched_from_the_first_mirror_that_has_it(raw: Path, mirror: Path) -> None:
    file = raw / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    file.rename(mirror / file.name)
    files = MNIST.files(raw, "train")
    assert file.is_file()
    (chunk,) = MNIST.read(files, "train")
    assert np.array_equal(chunk.images.numpy()[:, 0], images("train"))


@pytest.mark.parametrize("damage", ["half", "other", "empty"])
def test_a_damaged_file_is_fetched_anew(raw: Path, mirror: Path, damage: str) -> None:
    file = raw / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    whole = file.read_bytes()
    (mirror / file.name).write_bytes(whole)
    other = idx(labels("t10k")[::-1].copy())
    file.write_bytes({"half": whole[: len(whole) // 2], "other": other, "empty": b""}[damage])
    MNIST.files(raw, "test")
    assert file.read_bytes() == whole


def test_a_mirror_that_gives_something_else_is_not_believed(raw: Path, mirror: Path) -> None:
    file = raw / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    file.unlink()
    (mirror / file.name).write_bytes(b"<html>you have to log in first</html>")
    with pytest.raises(GlowPipelineError, match=r"t10k-labels-idx1-ubyte\.gz"):
        MNIST.files(raw, "test")


def test_an_unreachable_mirror_is_an_error_that_says_what_goes_where(raw: Path) -> None:
    file = raw / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    file.unlink()
    with pytest.raises(GlowPipelineError) as raised:
        MNIST.files(raw, "test")
    message = str(raised.value)
    assert message.startswith(f"{file}: ")
    assert f"into {file.parent}" in message
    assert "\n" not in message


def test_fashionmnist_is_not_looked_for_among_the_files_of_mnist(
    raw: Path, closed_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [closed_mirror])
    with pytest.raises(GlowPipelineError) as raised:
        FASHIONMNIST.files(raw, "test")
    assert str(raised.value).startswith(f"{raw / 'FashionMNIST' / 'raw'}")


# The real files ------------------------------------------------------------------------------

REAL = Path(os.environ.get("GLOW_TEST_DATA", "absent"))
real = pytest.mark.skipif(
    not all((REAL / name / "raw").is_dir() for name in ("MNIST", "FashionMNIST")),
    reason="GLOW_TEST_DATA names no folder with MNIST/raw and FashionMNIST/raw",
)
# As torchvision's MNIST(train=False).targets.bincount() has it.
MNIST_TEST_HISTOGRAM = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@real
def test_real_mnist_has_its_number_and_classes() -> None:
    files = MNIST.files(REAL, "test")
    chunks = list(MNIST.read(files, "test"))
    everything = torch.cat([chunk.images for chunk in chunks])
    assert everything.shape == (10_000, 1, 28, 28)
    assert torch.cat([chunk.labels for chunk in chunks]).bincount().tolist() == MNIST_TEST_HISTOGRAM
    # The mean brightness of the training images is widely quoted as 0.1307; that of the test images is close.
    assert everything.float().mean().item() / 255 == pytest.approx(0.13, abs=0.005)
    assert MNIST.count(MNIST.files(REAL, "train"), "train") == 60_000


@real
def test_real_fashionmnist_has_its_number_and_classes() -> None:
    files = FASHIONMNIST.files(REAL, "test")
    chunks = list(FASHIONMNIST.read(files, "test"))
    assert sum(len(chunk.images) for chunk in chunks) == 10_000
    assert torch.cat([chunk.labels for chunk in chunks]).bincount().tolist() == [1000] * 10
    assert FASHIONMNIST.count(FASHIONMNIST.files(REAL, "train"), "train") == 60_000
