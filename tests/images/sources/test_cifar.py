import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources import cifar
from glow_pipeline.images.sources.cifar import CIFAR10, CIFAR100
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Source, Split

SPLITS: tuple[Split, Split] = ("train", "test")
# As https://www.cs.toronto.edu/~kriz/cifar.html gives them.
PUBLISHED = {
    "cifar10": ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar100": ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
}
# The members in an order that is not that of the batches, and how many images each has here.
MEMBERS = {
    "cifar10": {
        "cifar-10-batches-bin/test_batch.bin": 4,
        "cifar-10-batches-bin/data_batch_4.bin": 3,
        "cifar-10-batches-bin/data_batch_1.bin": 5,
        "cifar-10-batches-bin/data_batch_5.bin": 1,
        "cifar-10-batches-bin/data_batch_3.bin": 2,
        "cifar-10-batches-bin/data_batch_2.bin": 3,
    },
    "cifar100": {"cifar-100-binary/test.bin": 4, "cifar-100-binary/train.bin": 6},
}
TRAIN_ORDER = {
    "cifar10": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in (1, 2, 3, 4, 5)],
    "cifar100": ["cifar-100-binary/train.bin"],
}


def pictures(member: str, n: int) -> NDArray[np.uint8]:
    """uint8 (n, 32, 32, 3), as a person would hold them: rows, columns, colours."""
    seed = sum(member.encode())
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def classes(member: str, n: int, num_classes: int) -> list[int]:
    return [(sum(member.encode()) + 7 * i) % num_classes for i in range(n)]


def records(source: Source, member: str, n: int) -> bytes:
    """`<label><red><green><blue>` of each image; CIFAR-100 has the coarse label first."""
    written = b""
    for picture, label in zip(pictures(member, n), classes(member, n, source.num_classes), strict=True):
        written += bytes([label] if source is CIFAR10 else [label // 5, label])
        written += b"".join(picture[:, :, colour].tobytes() for colour in range(3))
    return written


def archive(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def members_of(source: Source) -> dict[str, bytes]:
    inside = {member: records(source, member, n) for member, n in MEMBERS[source.name].items()}
    folder = next(iter(inside)).partition("/")[0]
    return {f"{folder}/batches.meta.txt": b"airplane\n", **inside, f"{folder}/readme.html": b"<html>"}


@pytest.fixture(scope="module", params=[CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
def source(request: pytest.FixtureRequest) -> Source:
    chosen = request.param
    assert isinstance(chosen, Source)
    return chosen


@pytest.fixture
def path(source: Source, tmp_path: Path) -> Path:
    path = tmp_path / PUBLISHED[source.name][0]
    path.write_bytes(archive(members_of(source)))
    return path


def opened(source: Source, path: Path, split: Split) -> ArraySplit:
    split_opened = source.open([path], split)
    assert isinstance(split_opened, ArraySplit)
    return split_opened


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_and_labels_are_read_in_the_order_of_the_batches(source: Source, path: Path, split: Split) -> None:
    train = TRAIN_ORDER[source.name]
    order = train if split == "train" else [member for member in MEMBERS[source.name] if member not in train]
    sizes = MEMBERS[source.name]
    split_opened = opened(source, path, split)
    images = torch.cat(list(split_opened.read()))
    assert images.dtype == torch.uint8
    expected = np.concatenate([pictures(member, sizes[member]) for member in order])
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), expected)
    assert split_opened.labels.dtype == np.int64
    assert split_opened.labels.tolist() == [
        label for member in order for label in classes(member, sizes[member], source.num_classes)
    ]
    assert split_opened.own_validation == 0


def test_no_image_is_in_both_splits(source: Source, path: Path) -> None:
    train, test = (
        {image.numpy().tobytes() for piece in opened(source, path, split).read() for image in piece} for split in SPLITS
    )
    assert train.isdisjoint(test)
    assert len(train) + len(test) == sum(MEMBERS[source.name].values())


def test_a_batch_larger_than_a_chunk_comes_in_pieces(
    source: Source, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = opened(source, path, "train")
    together = torch.cat(list(whole.read()))
    monkeypatch.setattr(cifar, "CHUNK", 2)
    split = opened(source, path, "train")
    pieces = list(split.read())
    assert max(len(piece) for piece in pieces) == 2
    assert torch.equal(torch.cat(pieces), together)
    assert np.array_equal(split.labels, whole.labels)


def test_labels_do_not_keep_the_pixels_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.tar.gz"
    path.write_bytes(archive({"cifar-100-binary/train.bin": bytes(3074 * 3000)}))
    monkeypatch.setattr(cifar, "CHUNK", 100)
    tracemalloc.start()
    try:
        labels = opened(CIFAR100, path, "train").labels
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(labels) == 3000
    assert peak < 3074 * 3000 / 4


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_binary_archive_is_asked_for(
    asked_for: list[tuple[Path, RemoteFile]], source: Source, tmp_path: Path, split: Split
) -> None:
    name, md5 = PUBLISHED[source.name]
    assert [file.path for file in source.files(tmp_path, split)] == [tmp_path / "cifar" / name]
    ((folder, file),) = asked_for
    assert (folder, file.name, file.md5) == (tmp_path / "cifar", name, md5)
    assert file.urls == (f"https://www.cs.toronto.edu/~kriz/{name}",)


def read_all(source: Source, path: Path) -> None:
    for split in SPLITS:
        for _ in opened(source, path, split).read():
            pass


@pytest.mark.parametrize("damage", ["half", "empty", "html", "not gzipped", "a member short", "half a record"])
def test_a_damaged_archive_is_named(source: Source, path: Path, damage: str) -> None:
    whole, members = path.read_bytes(), members_of(source)
    last = TRAIN_ORDER[source.name][-1]
    path.write_bytes(
        {
            "half": whole[: len(whole) // 2],
            "empty": b"",
            "html": b"<html>you have to log in first</html>",
            "not gzipped": b"".join(members.values()),
            "a member short": archive({name: content for name, content in members.items() if name != last}),
            "half a record": archive({**members, last: members[last][:-1000]}),
        }[damage]
    )
    with pytest.raises(GlowPipelineError) as raised:
        read_all(source, path)
    assert str(raised.value).startswith(f"{path}: not a whole CIFAR archive (")
    assert str(raised.value).endswith("); fetch it again")
    assert "\n" not in str(raised.value)


WHOLE = archive(
    {name: b"" if name.endswith("txt") else bytes(content) for name, content in members_of(CIFAR10).items()}
)


# A flip may go unseen here, where the md5 was not compared, but none leads to another exception.
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_no_cause_for_another_exception(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.tar.gz"
    flipped = bytearray(WHOLE)
    flipped[position] ^= 1 << bit
    path.write_bytes(flipped)
    problem = f"{path}: none"
    try:
        read_all(CIFAR10, path)
    except GlowPipelineError as raised:
        problem = str(raised)
    assert problem.startswith(f"{path}: ")
    assert "\n" not in problem


def test_a_wrong_checksum_of_the_zipped_stream_is_named(tmp_path: Path) -> None:
    # Without the two blocks of zeros that end a tar archive it is read to the end, where the checksum is.
    unzipped = gzip.decompress(WHOLE)
    with tarfile.open(fileobj=io.BytesIO(unzipped)) as whole:
        last = whole.getmembers()[-1]
    endless = gzip.compress(unzipped[: last.offset_data + -(-last.size // 512) * 512])
    path = tmp_path / "flipped.tar.gz"
    path.write_bytes(endless[:-8] + bytes(8))
    with pytest.raises(GlowPipelineError, match=r"flipped\.tar\.gz: not a whole CIFAR archive \(CRC check failed"):
        opened(CIFAR100, path, "train")
