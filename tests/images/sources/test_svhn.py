import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources import svhn
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Split
from glow_pipeline.images.sources.svhn import SVHN

N = 7
X = np.random.default_rng(0).integers(0, 256, (32, 32, 3, N), dtype=np.uint8)
Y = np.array([[10], [1], [9], [10], [3], [2], [7]], dtype=np.uint8)


def matlab(**variables: object) -> bytes:
    """A MATLAB 5 file, compressed, as the published ones are."""
    written = io.BytesIO()
    savemat(written, variables, do_compression=True)
    return written.getvalue()


WHOLE = matlab(X=X, y=Y)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(WHOLE)
    return path


def opened(path: Path) -> ArraySplit:
    split = SVHN.open([path], "test")
    assert isinstance(split, ArraySplit)
    return split


def test_images_and_labels_are_read_as_they_are_on_disk(path: Path) -> None:
    split = opened(path)
    images = torch.cat(list(split.read()))
    assert images.dtype == torch.uint8
    assert images.shape == (N, 3, 32, 32)
    for i in range(N):
        for colour in range(3):
            assert np.array_equal(images[i, colour].numpy(), X[:, :, colour, i])
    assert split.labels.dtype == np.int64
    assert split.labels.tolist() == [0, 1, 9, 0, 3, 2, 7]
    assert split.own_validation == 0


def test_images_and_labels_are_as_torchvision_has_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import SVHN as TorchvisionSVHN  # noqa: N811  # the same set's name

    monkeypatch.setattr(TorchvisionSVHN, "split_list", {"test": ["", path.name, None]})
    expected = TorchvisionSVHN(path.parent, "test")
    split = opened(path)
    assert np.array_equal(torch.cat(list(split.read())).numpy(), expected.data)
    assert np.array_equal(split.labels, expected.labels)


def test_a_set_larger_than_a_chunk_comes_in_pieces_and_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = torch.cat(list(opened(path).read()))
    monkeypatch.setattr(svhn, "CHUNK", 3)
    pieces = list(opened(path).read())
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    assert torch.equal(torch.cat(pieces), together)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_asks_for_the_file_that_torchvision_knows(
    asked_for: list[tuple[Path, RemoteFile]], tmp_path: Path, split: Split
) -> None:
    from torchvision import datasets

    url, name, md5 = datasets.SVHN.split_list[split]
    assert [file.path for file in SVHN.files(tmp_path, split)] == [tmp_path / "svhn" / name]
    assert asked_for == [(tmp_path / "svhn", RemoteFile(name, md5, (url,)))]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>you have to log in first</html>",
        WHOLE[:100],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-20],
        matlab(X=X),
        matlab(y=Y),
    ],
    ids=["empty", "html", "half a header", "half", "nearly whole", "no labels", "no images"],
)
def test_a_damaged_file_is_named(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(GlowPipelineError) as raised:
        list(opened(path).read())
    assert str(raised.value).startswith(f"{path}: not a whole SVHN file (")
    assert str(raised.value).endswith("); fetch it again")
    assert "\n" not in str(raised.value)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_no_cause_for_another_exception(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.mat"
    flipped = bytearray(WHOLE)
    flipped[position] ^= 1 << bit
    path.write_bytes(flipped)
    problem = ""
    try:
        split = opened(path)
        images = torch.cat(list(split.read()))
    except GlowPipelineError as raised:
        problem = str(raised)
    if problem:
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem
    else:  # the flip was where nothing is kept, as in the header's text
        assert np.array_equal(images.numpy(), X.transpose(3, 2, 0, 1))
        assert split.labels.tolist() == [0, 1, 9, 0, 3, 2, 7]
