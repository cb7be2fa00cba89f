import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from medmnist import INFO
from torchvision import datasets
from torchvision.datasets import imagenet

from glow_pipeline.images.selection import OWN, ImageSelection
from glow_pipeline.images.sources.medmnist import MEDMNIST
from glow_pipeline.images.sources.registry import SOURCES, source_of
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import Source, Split

MEDMNIST_2D = [name for name in INFO if not name.endswith("3d")]
BUNDLED_OR_OWN = {"digits", "textures", *OWN}
SPLITS: tuple[Split, Split] = ("train", "test")

each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())


def test_registry_has_every_set_by_name() -> None:
    medmnist = {f"{name}{suffix}" for name in MEDMNIST_2D for suffix in ("", "_64", "_128", "_224")}
    others = {"mnist", "fashionmnist", "cifar10", "cifar100", "svhn", "tinyimagenet", "dtd", "places365", "imagenet"}
    assert len(medmnist) == 48
    assert set(SOURCES) >= medmnist | others | {"celeba"} | BUNDLED_OR_OWN
    for name, source in SOURCES.items():
        assert source.name == name == name.lower()


@each_source
def test_source_facts_are_complete(source: Source) -> None:
    assert source.channels in (1, 3)
    assert 1 <= source.n_bits <= 8
    assert source.num_classes >= (1 if source.name in OWN else 2)
    assert source.licence
    assert source.title
    assert source.counts[0] > 0 or source.name in OWN
    assert "\n" not in source.licence + source.title + source.manual
    # The defaults of model.L=3 have to fit every source as it comes.
    assert all(side % 8 == 0 for side in source.default_size)


@each_source
def test_default_sizes_can_be_halved_and_trained(source: Source) -> None:
    own = {"digits": 8, "tinyimagenet": 64, "celeba": 64, "folder": 32, "places365": 128, "dtd": 128, "imagenet": 128}
    if source.name in own:
        assert source.default_size == (own[source.name], own[source.name])
    elif source.size is not None:
        assert source.default_size == (max(32, source.size[0]), max(32, source.size[1]))


@pytest.mark.parametrize(
    ("name", "num_classes", "counts"),
    [
        ("digits", 10, (1500, 0, 297)),
        ("mnist", 10, (60_000, 0, 10_000)),
        ("fashionmnist", 10, (60_000, 0, 10_000)),
        ("cifar10", 10, (50_000, 0, 10_000)),
        ("cifar100", 100, (50_000, 0, 10_000)),
        ("svhn", 10, (73_257, 0, 26_032)),
        ("tinyimagenet", 200, (100_000, 0, 10_000)),
        ("dtd", 47, (1_880, 1_880, 1_880)),
        ("places365", 365, (1_803_460, 0, 36_500)),
        ("imagenet", 1000, (1_281_167, 0, 50_000)),
        ("celeba", 2, (162_770, 19_867, 19_962)),
    ],
)
def test_classes_and_counts_are_as_published(name: str, num_classes: int, counts: tuple[int, int, int]) -> None:
    assert SOURCES[name].num_classes == num_classes
    assert SOURCES[name].counts == counts


@pytest.mark.parametrize("size", [28, 64, 128, 224])
@pytest.mark.parametrize("name", MEDMNIST_2D)
def test_medmnist_facts_are_those_of_its_package(name: str, size: int) -> None:
    source = SOURCES[name if size == 28 else f"{name}_{size}"]
    about = INFO[name]
    assert source.size == (size, size)
    assert source.n_bits == 8
    assert source.channels == about["n_channels"]
    # Of several findings at once one is the class, and so is none.
    assert source.num_classes == len(about["label"]) + (1 if "multi-label" in about["task"] else 0)
    assert source.counts == tuple(about["n_samples"][part] for part in ("train", "val", "test"))
    assert source.licence == about["license"]


def test_chestmnist_has_fourteen_findings_and_none() -> None:
    assert SOURCES["chestmnist"].num_classes == 15


def test_digits_are_never_mirrored() -> None:
    assert not any(SOURCES[name].mirrors for name in ("digits", "mnist", "svhn"))
    assert all(
        SOURCES[name].mirrors for name in ("textures", "fashionmnist", "cifar10", "octmnist", "celeba", "folder")
    )


# The files ----------------------------------------------------------------------------------


def request(source: Source, raw: Path, split: Split) -> None:
    """Have a source request its files, which are empty."""
    for path in source.paths(raw, split):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"") if path.suffix == ".gz" else b"")
    source.files(raw, split)


Published = Callable[[str], dict[str, RemoteFile]]


@pytest.fixture
def published(requested: list[tuple[Path, RemoteFile]], tmp_path: Path) -> Published:
    """A source's name -> its published files, by name."""

    def of(name: str) -> dict[str, RemoteFile]:
        for split in SPLITS:
            request(SOURCES[name], tmp_path, split)
        return {file.name: file for _, file in requested}

    return of


def test_tinyimagenet_is_the_archive_of_stanford(published: Published) -> None:
    assert published("tinyimagenet") == {
        "tiny-imagenet-200.zip": RemoteFile(
            "tiny-imagenet-200.zip",
            "90528d7ca1a48142e341f4ef8d21d0de",
            ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
        )
    }


def test_dtd_is_the_archive_that_torchvision_knows(published: Published) -> None:
    url = datasets.DTD._URL
    name = url.rpartition("/")[2]
    assert published("dtd") == {name: RemoteFile(name, datasets.DTD._MD5, (url,))}


def test_places365_is_the_archives_that_torchvision_knows(published: Published) -> None:
    known = datasets.Places365
    archives = [known._DEVKIT_META["standard"], *(known._IMAGES_META[part, True] for part in ("train-standard", "val"))]
    assert published("places365") == {
        name: RemoteFile(name, md5, (f"{known._BASE_URL}{name}",)) for name, md5 in archives
    }


def test_imagenet_is_the_archives_that_torchvision_knows(published: Published) -> None:
    files = published("imagenet").values()
    assert {(file.name, file.md5) for file in files} == set(imagenet.ARCHIVE_META.values())


def test_celeba_is_files_that_torchvision_knows(published: Published) -> None:
    known = {name: md5 for _, md5, name in datasets.CelebA.file_list}
    wanted = ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt")
    assert {name: file.md5 for name, file in published("celeba").items()} == {name: known[name] for name in wanted}


def test_sets_with_an_agreement_are_fetched_by_hand(requested: list[tuple[Path, RemoteFile]], tmp_path: Path) -> None:
    assert SOURCES["imagenet"].manual
    assert SOURCES["celeba"].manual
    for name in set(SOURCES) - BUNDLED_OR_OWN - {source.name for source in MEDMNIST}:
        requested.clear()
        for split in SPLITS:
            request(SOURCES[name], tmp_path, split)
        assert all(bool(file.urls) == (not SOURCES[name].manual) for _, file in requested)
        assert all(file.manual == SOURCES[name].manual for _, file in requested)


# Selections -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(SOURCES) - set(OWN)))
def test_selection_is_of_the_source_it_names(name: str) -> None:
    assert source_of(ImageSelection.of(name, classes=[0])) is SOURCES[name]


def test_each_folder_is_a_source_of_its_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(name.encode())
        source = source_of(ImageSelection.of_folder(str(tmp_path / name), None, 50, 0))
        assert source.name == "folder"
        assert [file.path for file in source.files(tmp_path, "train")] == [tmp_path / name]
