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
from tests.images.conftest import Mirror

SOURCES = {source.name: source for source in MEDMNIST}
N = {"train": 6, "val": 4, "test": 3}


def arrays(flag: str) -> dict[str, NDArray[np.generic]]:
    """The six arrays of a small set, with the shapes and types of the published ones."""
    name, _, size = flag.partition("_")
    random = np.random.default_rng(len(flag))
    image = (int(size or 28),) * 2 + ((3,) if INFO[name]["n_channels"] == 3 else ())
    made: dict[str, NDArray[np.generic]] = {}
    for part, n in N.items():
        made[f"{part}_images"] = random.integers(0, 256, (n, *image), dtype=np.uint8)
        if "multi-label" in INFO[name]["task"]:
            made[f"{part}_labels"] = random.integers(0, 2, (n, len(INFO[name]["label"])), dtype=np.uint8)
        else:
            made[f"{part}_labels"] = random.integers(0, len(INFO[name]["label"]), (n, 1), dtype=np.uint8)
    return made


def npz(changed: dict[str, NDArray[np.generic]] | None = None, *, flag: str = "octmnist") -> bytes:
    """The set as a file, some arrays in place of its own."""
    written = io.BytesIO()
    np.savez_compressed(written, **(arrays(flag) | (changed or {})))  # type: ignore[arg-type]  # no array is a flag
    return written.getvalue()


def put(raw: Path, content: bytes, flag: str = "octmnist") -> Path:
    """Write the set to where it belongs."""
    path = raw / "medmnist" / f"{flag}.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def opened(source: Source, raw: Path, split: Split) -> ArraySplit:
    split_opened = source.open([file.path for file in source.files(raw, split)], split)
    assert isinstance(split_opened, ArraySplit)
    return split_opened


@pytest.mark.parametrize("flag", ["octmnist", "octmnist_64", "pathmnist", "bloodmnist_64"])
def test_images_and_labels_are_as_the_medmnist_package_has_them(tmp_path: Path, flag: str) -> None:
    put(tmp_path, npz(flag=flag), flag)
    name, _, size = flag.partition("_")
    known = getattr(medmnist, INFO[name]["python_class"])
    parts: dict[Split, list[str]] = {"train": ["train", "val"], "test": ["test"]}
    for split, names in parts.items():
        expected = [known(part, root=tmp_path / "medmnist", size=int(size or 28)) for part in names]
        split_opened = opened(SOURCES[flag], tmp_path, split)
        images = torch.cat(list(split_opened.read()))
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (SOURCES[flag].channels, *(SOURCES[flag].size or ()))
        pixels = np.concatenate([part.imgs for part in expected])
        channels_last = images.permute(0, 2, 3, 1).numpy()
        assert np.array_equal(channels_last if pixels.ndim == 4 else channels_last[:, :, :, 0], pixels)
        assert split_opened.labels.dtype == np.int64
        assert np.array_equal(split_opened.labels, np.concatenate([part.labels for part in expected])[:, 0])


def test_the_validation_split_of_a_set_is_at_the_end_of_its_training_split(tmp_path: Path) -> None:
    given_arrays = arrays("octmnist")
    put(tmp_path, npz())
    train = opened(SOURCES["octmnist"], tmp_path, "train")
    assert train.own_validation == N["val"]
    images = torch.cat(list(train.read()))[:, 0].numpy()
    assert np.array_equal(images[: -N["val"]], given_arrays["train_images"])
    assert np.array_equal(images[-N["val"] :], given_arrays["val_images"])
    assert opened(SOURCES["octmnist"], tmp_path, "test").own_validation == 0


def test_of_several_findings_the_first_is_the_class_and_none_is_a_class_too(tmp_path: Path) -> None:
    findings = np.zeros((4, 14), dtype=np.uint8)
    findings[1, [3, 7]] = 1
    findings[2, 0] = 1
    findings[3, 13] = 1
    images = np.zeros((4, 28, 28), dtype=np.uint8)
    put(tmp_path, npz({"test_labels": findings, "test_images": images}, flag="chestmnist"), "chestmnist")
    labels = opened(SOURCES["chestmnist"], tmp_path, "test").labels
    assert labels.tolist() == [0, 4, 1, 14]
    assert max(labels) == SOURCES["chestmnist"].num_classes - 1


def test_a_set_larger_than_a_chunk_comes_in_pieces_and_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_arrays = arrays("octmnist")
    put(tmp_path, npz())
    monkeypatch.setattr(under_test, "CHUNK_BYTES", 3 * 28 * 28 - 1)
    pieces = list(opened(SOURCES["octmnist"], tmp_path, "train").read())
    assert [len(piece) for piece in pieces] == [2, 2, 2, 2, 2]
    expected = np.concatenate([given_arrays["train_images"], given_arrays["val_images"]])
    assert np.array_equal(torch.cat(pieces)[:, 0].numpy(), expected)


def test_an_image_larger_than_a_chunk_comes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, npz())
    monkeypatch.setattr(under_test, "CHUNK_BYTES", 100)
    assert [len(piece) for piece in opened(SOURCES["octmnist"], tmp_path, "test").read()] == [1, 1, 1]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_a_large_array_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: object) -> None:
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
def test_each_set_and_size_is_the_file_that_the_medmnist_package_knows(
    asked_for: list[tuple[Path, RemoteFile]], tmp_path: Path, split: Split
) -> None:
    for source in MEDMNIST:
        name, _, size = source.name.partition("_")
        suffix = f"_{size}" if size else ""
        path = tmp_path / "medmnist" / f"{source.name}.npz"
        assert [file.path for file in source.files(tmp_path, split)] == [path]
        expected = RemoteFile(path.name, INFO[name][f"MD5{suffix}"], (INFO[name][f"url{suffix}"],))
        assert asked_for.pop() == (path.parent, expected)


def test_a_missing_set_is_fetched(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = npz(flag="octmnist_64")
    monkeypatch.setitem(INFO["octmnist"], "url_64", f"{mirror.url}octmnist_64.npz?download=1")
    monkeypatch.setitem(INFO["octmnist"], "MD5_64", hashlib.md5(content).hexdigest())
    mirror.files["octmnist_64.npz"] = content
    (file,) = SOURCES["octmnist_64"].files(tmp_path, "test")
    assert file == (tmp_path / "medmnist" / "octmnist_64.npz", hashlib.sha256(content).hexdigest())
    assert file.path.read_bytes() == content
    assert mirror.requests == ["octmnist_64.npz?download=1"]


def test_without_a_network_it_is_said_what_belongs_where(
    no_network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(INFO["octmnist"], "url", f"{no_network}octmnist.npz")
    with pytest.raises(GlowPipelineError) as raised:
        SOURCES["octmnist"].files(tmp_path, "test")
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'medmnist' / 'octmnist.npz'}: missing, ")
    assert f"put octmnist.npz there, from {no_network}octmnist.npz" in message
    assert "\n" not in message


def test_a_file_that_was_put_there_by_hand_is_used_whatever_its_version(
    asked_for: list[tuple[Path, RemoteFile]], tmp_path: Path
) -> None:
    content = npz()
    path = put(tmp_path, content)
    assert hashlib.md5(content).hexdigest() != INFO["octmnist"]["MD5"]
    assert SOURCES["octmnist"].files(tmp_path, "train") == [(path, hashlib.sha256(content).hexdigest())]
    assert asked_for == []


# Damaged files -------------------------------------------------------------------------------


class Intruder:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def refusal(raw: Path, flag: str = "octmnist") -> str:
    """The one line that says why the training images or their labels cannot be read."""
    with pytest.raises(GlowPipelineError) as raised:
        list(opened(SOURCES[flag], raw, "train").read())
    message = str(raised.value)
    assert message.startswith(f"{raw / 'medmnist' / flag}.npz: ")
    assert message.endswith("; remove the file, and it is fetched anew")
    assert "\n" not in message
    return message


def test_nothing_that_is_pickled_is_executed(tmp_path: Path) -> None:
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


FLOATS = np.zeros((N["train"], 28, 28))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("train_images", FLOATS),
        ("train_images", FLOATS.astype(np.int16)),
        ("train_images", FLOATS.astype(bool)),
        ("train_images", np.asfortranarray(FLOATS.astype(np.uint8))),
        ("train_images", np.zeros((N["train"], 28), dtype=np.uint8)),
        ("train_images", np.zeros((N["train"], 28, 28, 4), dtype=np.uint8)),
        ("train_images", np.zeros((N["train"], 28, 28, 28), dtype=np.uint8)),
        ("train_images", np.zeros((N["train"], 3, 28, 28, 3), dtype=np.uint8)),
        ("train_images", np.zeros((N["train"], 28, 0), dtype=np.uint8)),
        ("train_labels", np.zeros((N["train"], 1))),
        ("train_labels", np.zeros((N["train"], 1), dtype="<U3")),
        ("train_labels", np.zeros((N["train"], 1, 1), dtype=np.uint8)),
        ("train_labels", np.array(3, dtype=np.uint8)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{value.shape}",
)
def test_arrays_of_another_type_or_shape_are_refused(tmp_path: Path, name: str, array: NDArray[np.generic]) -> None:
    put(tmp_path, npz({name: array}))
    message = refusal(tmp_path)
    assert f": {name} cannot be read (" in message
    assert f"these are {array.dtype} {array.shape}" in message


def without(name: str) -> bytes:
    """The set's file, one array missing."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as whole, zipfile.ZipFile(written, "w") as fewer:
        for member in whole.namelist():
            if member != f"{name}.npy":
                fewer.writestr(member, whole.read(member))
    return written.getvalue()


def shorter(name: str) -> bytes:
    """The set's file, one array cut off in the middle; the zip archive itself is whole."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as whole, zipfile.ZipFile(written, "w") as cut:
        for member in whole.namelist():
            content = whole.read(member)
            cut.writestr(member, content[:-2] if member == f"{name}.npy" else content)
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>you have to log in first</html>",
        npz()[: len(npz()) // 2],
        npz()[:-1],
        *(damaged(name) for damaged in (without, shorter) for name in ("train_labels", "val_images")),
    ],
    ids=["empty", "html", "half", "nearly whole", "no labels", "no images", "short labels", "short images"],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, content)
    refusal(tmp_path)


def small(save: object) -> bytes:
    """A file that is mostly headers, so that most flips hit one."""
    assert callable(save)
    written = io.BytesIO()
    save(
        written, **{name: array[:, :2, :2] if array.ndim == 3 else array for name, array in arrays("octmnist").items()}
    )
    return written.getvalue()


@pytest.mark.parametrize("whole", [small(np.savez), small(np.savez_compressed)], ids=["stored", "compressed"])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, where: float, bit: int
) -> None:
    raw = tmp_path_factory.getbasetemp()
    flipped = bytearray(whole)
    flipped[int(where * len(whole))] ^= 1 << bit
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
def test_real_pneumoniamnist_has_its_number_and_classes() -> None:
    source = SOURCES["pneumoniamnist"]
    train, test = opened(source, REAL, "train"), opened(source, REAL, "test")
    assert (len(train.labels) - train.own_validation, train.own_validation, len(test.labels)) == (4708, 524, 624)
    assert np.bincount(train.labels[: -train.own_validation]).tolist() == [1214, 3494]
    assert set(test.labels) == {0, 1}
    with np.load(REAL / "medmnist" / "pneumoniamnist.npz") as arrays_there:
        assert np.array_equal(torch.cat(list(test.read()))[:, 0].numpy(), arrays_there["test_images"])
        expected = np.concatenate([arrays_there["train_images"], arrays_there["val_images"]])
        assert np.array_equal(torch.cat(list(train.read()))[:, 0].numpy(), expected)
