from pathlib import Path

from glow_pipeline.images.sources.listing import listing
from glow_pipeline.images.sources.registry import SOURCES


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


def test_every_source_is_listed_with_its_numbers(tmp_path: Path) -> None:
    text = listing(tmp_path)
    assert [name for name in SOURCES if not name.endswith(("_64", "_128", "_224")) and name not in text] == []
    cifar = row(text, "cifar10")
    for fact in ("50,000", "10,000", "3x32x32", "10"):
        assert fact in cifar.split()
    assert "128x128" in row(text, "imagenet")


def test_files_on_disk_are_listed(tmp_path: Path) -> None:
    (tmp_path / "medmnist").mkdir()
    for name in ("octmnist.npz", "bloodmnist_64.npz"):
        (tmp_path / "medmnist" / name).touch()
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "ILSVRC2012_img_val.tar").touch()
    text = listing(tmp_path)
    assert row(text, "octmnist").endswith("yes")
    assert row(text, "bloodmnist_64").endswith("yes")
    assert row(text, "bloodmnist").endswith("no: fetched when needed")
    assert "octmnist_64" not in text
    assert row(text, "imagenet").endswith("without ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar")
    assert row(text, "celeba").endswith("no: by hand")
    assert row(text, "digits").endswith("in the wheel")
    assert row(text, "folder").endswith("your folder")
