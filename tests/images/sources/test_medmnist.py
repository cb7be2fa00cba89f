import hashlib
import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import medmnist
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from medmnist import INFO
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources import medmnist as under_test
from glow_pipeline.images.sources.medmnist import MEDMNIST
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Source, Split
from tests.images.sources import contract
from tests.images.sources.miniatures.medmnist import COUNTS, arrays, npz

SOURCES = {source.name: source for source in MEDMNIST}
TRAIN = COUNTS["train"]


def put(raw: Path, content: bytes, flag: str = "octmnist") -> Path:
    """Write the set to its place."""
    path = raw / "medmnist" / f"{flag}.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def opened(source: Source, raw: Path, split: Split) -> ArraySplit:
    result = contract.opened(source, raw, split)
    assert isinstance(result, ArraySplit)
    return result


@pytest.mark.parametrize("flag", ["octmnist", "octmnist_64", "pathmnist", "bloodmnist_64"])
def test_medmnist_is_as_its_package_reads_it(tmp_path: Path, flag: str) -> None:
    put(tmp_path, npz(flag=flag), flag)
    name, _, size = flag.partition("_")
    known = getattr(medmnist, INFO[name]["python_class"])
    parts: dict[Split, list[str]] = {"train": ["train", "val"], "test": ["test"]}
    for split, names in parts.items():
        expected = [known(part, root=tmp_path / "medmnist", size=int(size or 28)) for part in names]
        split_read = opened(SOURCES[flag], tmp_path, split)
        images = torch.cat(list(split_read.read()))
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (SOURCES[flag].channels, *(SOURCES[flag].size or ()))
        pixels = np.concatenate([part.imgs for part in expected])
        channels_last = images.permute(0, 2, 3, 1).numpy()
        assert np.array_equal(channels_last if pixels.ndim == 4 else channels_last[:, :, :, 0], pixels)
        assert split_read.labels.dtype == np.int64
        assert np.array_equal(split_read.labels, np.concatenate([part.labels for part in expected])[:, 0])


def test_first_finding_or_none_is_the_class(tmp_path: Path) -> None:
    findings = np.zeros((4, 14), dtype=np.uint8)
    findings[1, [3, 7]] = 1
    findings[2, 0] = 1
    findings[3, 13] = 1
    images = np.zeros((4, 28, 28), dtype=np.uint8)
    put(tmp_path, npz({"test_labels": findings, "test_images": images}, flag="chestmnist"), "chestmnist")
    labels = opened(SOURCES["chestmnist"], tmp_path, "test").labels
    assert labels.tolist() == [0, 4, 1, 14]
    assert max(labels) == SOURCES["chestmnist"].num_classes - 1


def test_image_larger_than_a_chunk_is_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, npz())
    monkeypatch.setattr(under_test, "CHUNK_BYTES", 100)
    assert [len(piece) for piece in opened(SOURCES["octmnist"], tmp_path, "test").read()] == [1, 1, 1]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_large_array_is_never_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: object) -> None:
    assert callable(save)
    n = 20_000
    path = put(tmp_path, b"")
    save(path, **arrays("octmnist") | {"test_images": np.zeros((n, 28, 28), dtype=np.uint8)})
    monkeypatch.setattr(under_test, "CHUNK_BYTES", 2**18)
    split = opened(SOURCES["octmnist"], tmp_path, "test")
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in split.read()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == n
    assert max(sizes) * 28 * 28 <= 2**18
    assert peak < n * 28 * 28 / 8


# Which file it is ----------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
def test_files_are_those_that_the_package_knows(
    requested: list[tuple[Path, RemoteFile]], tmp_path: Path, split: Split
) -> None:
    for source in MEDMNIST:
        name, _, size = source.name.partition("_")
        suffix = f"_{size}" if size else ""
        path = tmp_path / "medmnist" / f"{source.name}.npz"
        assert [file.path for file in source.files(tmp_path, split)] == [path]
        expected = RemoteFile(path.name, INFO[name][f"MD5{suffix}"], (INFO[name][f"url{suffix}"],))
        assert requested.pop() == (path.parent, expected)


def test_file_of_any_version_is_used(requested: list[tuple[Path, RemoteFile]], tmp_path: Path) -> None:
    content = npz()
    path = put(tmp_path, content)
    assert hashlib.md5(content).hexdigest() != INFO["octmnist"]["MD5"]
    assert SOURCES["octmnist"].files(tmp_path, "train") == [(path, hashlib.sha256(content).hexdigest())]
    assert requested == []


# Damaged files -------------------------------------------------------------------------------


class Intruder:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def refusal(raw: Path, flag: str = "octmnist") -> str:
    """Return the error of training images or labels that cannot be read."""
    with pytest.raises(GlowPipelineError) as raised:
        list(opened(SOURCES[flag], raw, "train").read())
    message = str(raised.value)
    assert message.startswith(f"{raw / 'medmnist' / flag}.npz: ")
    assert message.endswith("; remove the file, and it is fetched again")
    assert "\n" not in message
    return message


def test_pickled_content_is_never_executed(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    intruder = np.array([Intruder(trace)], dtype=object)
    for name in ("train_labels", "train_images", "val_labels", "val_images"):
        put(tmp_path, npz({name: intruder}))
        assert name in refusal(tmp_path)
    put(tmp_path, pickle.dumps(Intruder(trace)))
    refusal(tmp_path)
    assert not trace.exists()
    np.load(io.BytesIO(npz({"test_images": intruder})), allow_pickle=True)["test_images"]
    assert trace.exists()  # it would have been


FLOATS = np.zeros((TRAIN, 28, 28))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("train_images", FLOATS),
        ("train_images", FLOATS.astype(np.int16)),
        ("train_images", FLOATS.astype(bool)),
        ("train_images", np.asfortranarray(FLOATS.astype(np.uint8))),
        ("train_images", np.zeros((TRAIN, 28), dtype=np.uint8)),
        ("train_images", np.zeros((TRAIN, 28, 28, 4), dtype=np.uint8)),
        ("train_images", np.zeros((TRAIN, 28, 28, 28), dtype=np.uint8)),
        ("train_images", np.zeros((TRAIN, 3, 28, 28, 3), dtype=np.uint8)),
        ("train_images", np.zeros((TRAIN, 28, 0), dtype=np.uint8)),
        ("train_labels", np.zeros((TRAIN, 1))),
        ("train_labels", np.zeros((TRAIN, 1), dtype="<U3")),
        ("train_labels", np.zeros((TRAIN, 1, 1), dtype=np.uint8)),
        ("train_labels", np.array(3, dtype=np.uint8)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{value.shape}",
)
def test_array_of_another_type_or_shape_is_refused(tmp_path: Path, name: str, array: NDArray[np.generic]) -> None:
    put(tmp_path, npz({name: array}))
    message = refusal(tmp_path)
    assert f": {name} cannot be read (" in message
    assert f"these are {array.dtype} {array.shape}" in message


def without(name: str) -> bytes:
    """Return the set's file without one array."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as complete, zipfile.ZipFile(written, "w") as fewer:
        for member in complete.namelist():
            if member != f"{name}.npy":
                fewer.writestr(member, complete.read(member))
    return written.getvalue()


def shorter(name: str) -> bytes:
    """Return the set's file with one array cut; the zip archive itself is complete."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as complete, zipfile.ZipFile(written, "w") as cut:
        for member in complete.namelist():
            content = complete.read(member)
            cut.writestr(member, content[:-2] if member == f"{name}.npy" else content)
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        npz()[:-1],
        *(damaged(name) for damaged in (without, shorter) for name in ("train_labels", "val_images")),
    ],
    ids=["nearly complete", "no labels", "no images", "short labels", "short images"],
)
def test_incomplete_file_is_refused(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, content)
    refusal(tmp_path)


def small(save: object) -> bytes:
    """Return a file that is mostly headers, so that most flips hit one."""
    assert callable(save)
    written = io.BytesIO()
    save(
        written, **{name: array[:, :2, :2] if array.ndim == 3 else array for name, array in arrays("octmnist").items()}
    )
    return written.getvalue()


@pytest.mark.parametrize("complete", [small(np.savez), small(np.savez_compressed)], ids=["stored", "compressed"])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bit_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, complete: bytes, where: float, bit: int
) -> None:
    raw = tmp_path_factory.getbasetemp()
    flipped = bytearray(complete)
    flipped[int(where * len(complete))] ^= 1 << bit
    path = put(raw, bytes(flipped))
    problem = ""
    try:
        split = opened(SOURCES["octmnist"], raw, "train")
        images = torch.cat(list(split.read()))
    except GlowPipelineError as raised:
        problem = str(raised)
    if problem:
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem
    else:  # no md5 was compared, but each array has a checksum
        expected = arrays("octmnist")
        pixels = np.concatenate([expected["train_images"], expected["val_images"]])[:, :2, :2]
        assert np.array_equal(images[:, 0].numpy(), pixels)
        labels = np.concatenate([expected["train_labels"], expected["val_labels"]])
        assert np.array_equal(split.labels, labels[:, 0])


# The real file -------------------------------------------------------------------------------

REAL = Path(os.environ.get("GLOW_TEST_DATA", "absent")).absolute()


@pytest.mark.skipif(
    not (REAL / "medmnist" / "pneumoniamnist.npz").is_file(),
    reason="GLOW_TEST_DATA names no folder with medmnist/pneumoniamnist.npz",
)
def test_real_pneumoniamnist_has_its_images_and_classes() -> None:
    source = SOURCES["pneumoniamnist"]
    train, test = opened(source, REAL, "train"), opened(source, REAL, "test")
    assert (len(train.labels) - train.own_validation, train.own_validation, len(test.labels)) == (4708, 524, 624)
    assert np.bincount(train.labels[: -train.own_validation]).tolist() == [1214, 3494]
    assert set(test.labels) == {0, 1}
    with np.load(REAL / "medmnist" / "pneumoniamnist.npz") as published:
        assert np.array_equal(torch.cat(list(test.read()))[:, 0].numpy(), published["test_images"])
        expected = np.concatenate([published["train_images"], published["val_images"]])
        assert np.array_equal(torch.cat(list(train.read()))[:, 0].numpy(), expected)
