"""Checks that every source passes on a miniature of its publisher's files; see `contract.py`."""

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import OWN
from glow_pipeline.images.sources.medmnist import MEDMNIST
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.images.sources.source import ArraySplit, EncodedSplit, Split
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from tests.images.conftest import Mirror
from tests.images.sources.conftest import Publish, Publisher
from tests.images.sources.contract import SPLITS, error_of, files_below, images_of, opened
from tests.images.sources.miniatures import MINIATURES

# Sources with files in the raw data folder that somebody publishes.
PUBLISHED = [name for name, source in SOURCES.items() if source.paths(Path("raw"), "train")]
BY_HAND = [name for name in PUBLISHED if SOURCES[name].manual]
ANY_VERSION = {source.name for source in MEDMNIST}  # used whatever the file's md5 is; test_medmnist.py
# MedMNIST's 48 sets are read by one module. All of them are read here, and these, which are of each size, number of
# channels and kind of labels, pass every other check too.
ONE_OF_EACH_KIND = {"octmnist", "pathmnist_64", "chestmnist_128", "bloodmnist_224"}
KINDS = [name for name in SOURCES if name not in ANY_VERSION or name in ONE_OF_EACH_KIND]
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "page": lambda content: b"<html>log in first</html>",
    "cut": lambda content: content[: min(560, len(content) // 3)],  # within the first file of an archive
}
each_source = pytest.mark.parametrize("name", SOURCES)
each_kind = pytest.mark.parametrize("name", KINDS)
each_published_kind = pytest.mark.parametrize("name", [name for name in PUBLISHED if name in KINDS])
each_split = pytest.mark.parametrize("split", SPLITS)


def test_every_source_has_a_miniature() -> None:
    assert set(MINIATURES) == set(SOURCES)
    assert ANY_VERSION >= ONE_OF_EACH_KIND
    assert all(MINIATURES[name]().source == name for name in SOURCES)


# Content -------------------------------------------------------------------------------------


@each_source
@each_split
def test_images_and_labels_are_the_published_ones(publish: Publish, name: str, split: Split) -> None:
    miniature = MINIATURES[name]()
    raw = publish(miniature.files)
    source, expected = miniature.source_in(raw), miniature.expected[split]
    result = opened(source, raw, split)
    assert result.labels.dtype == np.int64
    assert result.labels.tolist() == list(expected.labels)
    assert max(expected.labels) < source.num_classes or source.name in OWN
    assert result.own_validation == expected.own_validation
    images = images_of(result)
    assert len(images) == len(expected.images)
    assert all(image.dtype == np.uint8 for image in images)
    assert all(map(np.array_equal, images, expected.images))
    if isinstance(result, EncodedSplit):
        assert [result.reader.name(i) for i in range(len(images))] == expected.names
    else:
        assert expected.names is None
        assert images[0].shape == (*(source.size or ()), source.channels)


@each_kind
def test_no_image_is_in_both_splits(publish: Publish, name: str) -> None:
    miniature = MINIATURES[name]()
    raw = publish(miniature.files)
    train, test = (
        {(image.shape, image.tobytes()) for image in images_of(opened(miniature.source_in(raw), raw, split))}
        for split in SPLITS
    )
    assert train.isdisjoint(test)


@each_kind
def test_arrays_are_read_in_small_pieces(publish: Publish, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    miniature = MINIATURES[name]()
    raw = publish(miniature.files)
    split = opened(miniature.source_in(raw), raw, "train")
    if miniature.chunk is None:  # files are read one by one, and bundled sets are small
        assert isinstance(split, EncodedSplit) or miniature.files == {}
        return
    assert isinstance(split, ArraySplit)
    constant, value = miniature.chunk
    at_once = torch.cat(list(split.read()))
    monkeypatch.setattr(constant, value)
    again = opened(miniature.source_in(raw), raw, "train")
    assert isinstance(again, ArraySplit)
    pieces = list(again.read())
    assert 1 < max(len(piece) for piece in pieces) <= 3
    assert torch.equal(torch.cat(pieces), at_once)
    assert np.array_equal(again.labels, split.labels)


@each_kind
@each_split
def test_table_holds_the_prepared_images(publish: Publish, tmp_path: Path, name: str, split: Split) -> None:
    miniature, image_format = MINIATURES[name](), ImageFormat(channels=1, height=8, width=12, n_bits=5, fit="pad")
    raw, expected = publish(miniature.files), miniature.expected[split]
    label = expected.labels[0]
    for classes in (None, [label]):
        folder = tmp_path / f"table_{classes}"
        plan_table(miniature.select(raw, classes), split, image_format, raw).write(folder)
        rows = [row for row, k in enumerate(expected.labels) if classes is None or k == label]
        images, labels = ImageTable(folder)[:]
        assert labels.tolist() == [expected.labels[row] for row in rows]
        prepared = [
            prepare(torch.from_numpy(expected.images[row]).permute(2, 0, 1)[None], image_format) for row in rows
        ]
        assert torch.equal(images, torch.cat(prepared))
        own = sum(row >= len(expected.labels) - expected.own_validation for row in rows)
        assert ImageTable(folder).record.own_validation == own
        names = ImageTable(folder).names
        assert (names and list(names)) == (expected.names and [expected.names[row] for row in rows])


# Files ---------------------------------------------------------------------------------------


@each_published_kind
@each_split
def test_split_needs_its_own_files_alone(publish: Publish, name: str, split: Split) -> None:
    miniature = MINIATURES[name]()
    needed = list(miniature.needed[split])
    raw = publish({path: miniature.files[path] for path in needed})
    source = miniature.source_in(raw)
    found = source.files(raw, split)
    assert [file.path for file in found] == [raw / path for path in (*needed, *miniature.made)]
    for file in found:
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert source.paths(raw, split) == [raw / path for path in needed]
    others = [path for path in miniature.files if path not in needed]
    assert source.on_disk(raw, [split]) == ([raw / path for path in needed], [])
    assert set(source.on_disk(raw)[1]) == {raw / path for path in others}
    images_of(opened(source, raw, split))
    assert files_below(raw) == {*needed, *miniature.made}  # nothing is unpacked


@pytest.mark.parametrize("name", sorted(set(SOURCES) - set(PUBLISHED) - set(OWN)))
def test_bundled_set_needs_no_raw_folder(tmp_path: Path, name: str) -> None:
    for file in SOURCES[name].files(tmp_path / "absent", "train"):
        assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    assert SOURCES[name].on_disk(tmp_path) == ([], [])
    assert list(tmp_path.iterdir()) == []


@each_published_kind
def test_missing_file_is_named_with_its_origin(publish: Publish, publisher: Publisher, name: str) -> None:
    miniature, source = MINIATURES[name](), SOURCES[name]
    raw = publish(miniature.files)
    for split in SPLITS:
        for needed in miniature.needed[split]:
            path = raw / needed
            path.unlink()
            assert source.on_disk(raw)[1] == [path]
            message = error_of(lambda split=split: source.files(raw, split))  # type: ignore[misc]
            assert message.startswith(f"{path}: missing")
            assert f"put {path.name} there, from {source.manual or publisher.address}" in message
            path.write_bytes(miniature.files[needed])


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in BY_HAND])
def test_missing_files_are_fetched(mirror: Mirror, publisher: Publisher, tmp_path: Path, name: str) -> None:
    miniature, raw = MINIATURES[name](), tmp_path / "raw"
    publisher.publish(miniature.files)
    publisher.address = mirror.url
    mirror.files |= {Path(path).name: content for path, content in miniature.files.items()}
    files = SOURCES[name].files(raw, "test")
    needed = miniature.needed["test"]
    assert [file.path.read_bytes() for file in files[: len(needed)]] == [miniature.files[path] for path in needed]
    assert files_below(raw) == {*needed, *miniature.made}
    assert mirror.requests == [Path(path).name for path in needed]


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in ANY_VERSION])
def test_file_with_another_md5_is_not_used(publish: Publish, name: str) -> None:
    miniature = MINIATURES[name]()
    raw = publish(miniature.files)
    for needed in miniature.needed["test"]:
        path, other = raw / needed, miniature.files[needed] + b"x"
        path.write_bytes(other)
        message = error_of(lambda: SOURCES[name].files(raw, "test"))
        assert message.startswith(f"{path}: md5 is {hashlib.md5(other).hexdigest()}, published is ")
        assert path.read_bytes() == other
        path.write_bytes(miniature.files[needed])


@each_published_kind
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_is_named(publish: Publish, tmp_path: Path, name: str, damage: str) -> None:
    """The md5 is that of the damaged file, as if it had been published so."""
    miniature, image_format = MINIATURES[name](), ImageFormat(channels=1, height=8, width=8, n_bits=8, fit="resize")
    for number, needed in enumerate(miniature.needed["train"]):
        if damage == "cut" and needed in miniature.lists:
            continue
        raw = publish(miniature.files | {needed: DAMAGE[damage](miniature.files[needed])})

        def write(raw: Path = raw, number: int = number) -> None:
            plan_table(miniature.select(raw), "train", image_format, raw).write(tmp_path / f"table{number}")

        message = error_of(write)
        assert Path(needed).stem in message or message.startswith(f"{name} train: there is no image in its files")


# The miniatures themselves -------------------------------------------------------------------


@each_source
def test_miniature_can_tell_orders_and_classes_apart(name: str) -> None:
    for split in SPLITS:
        expected = MINIATURES[name]().expected[split]
        assert len(set(expected.labels)) > 1
        assert not all(np.array_equal(one, other) for one, other in pairwise(expected.images))
