"""One look at a folder serves all that ask in a command, and is dropped when nobody needs it any more."""

from pathlib import Path

import pytest

from glow_pipeline.images.grey_range import decide_range
from glow_pipeline.images.sources import folder_listing
from glow_pipeline.images.sources.folder import folder_source
from glow_pipeline.images.sources.folder_listing import FolderListing, FolderLooks
from glow_pipeline.images.sources.kept_digests import KeptDigests
from tests.images.sources.contract import SPLITS
from tests.images.sources.folders import image_selection, put

NAMES = [f"{k}.png" for k in range(20)]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are listed."""
    found: list[Path] = []
    list_folder = folder_listing.list_folder

    def recorded(*arguments: object) -> FolderListing:
        listing = list_folder(*arguments)  # type: ignore[arg-type]
        found.append(listing.folder)
        return listing

    monkeypatch.setattr(folder_listing, "list_folder", recorded)
    return found


def test_second_command_looks_once(tmp_path: Path, looked: list[Path]) -> None:
    images = image_selection(put(tmp_path / "xrays", *NAMES))
    checksums = []
    for _ in range(2):
        looks = FolderLooks(KeptDigests(tmp_path / "listings"))
        looked.clear()
        assert [decide_range(images, split, looks=looks) for split in SPLITS] == [None, None]
        # Another source for each node, as `plan_table` makes it.
        checksums += [folder_source(images, looks).files(tmp_path, split)[0].sha256 for split in SPLITS]
    assert looked == [tmp_path / "xrays"]
    assert len(set(checksums)) == 1


def test_opened_or_forgotten_listing_is_dropped(tmp_path: Path, looked: list[Path]) -> None:
    looks = FolderLooks()
    source = folder_source(image_selection(put(tmp_path / "xrays", *NAMES)), looks)
    for forget in (lambda: source.open([], "train"), looks.forget):
        source.files(tmp_path, "train")
        source.files(tmp_path, "test")
        forget()
    assert len(looked) == 2
    assert not looks._listings
    assert looks.kept.known(tmp_path / "xrays") is None


def test_changed_classes_are_seen_by_the_next_command(tmp_path: Path) -> None:
    folder = put(tmp_path / "xrays", "a/1.png", "b/2.png")
    images = image_selection(folder, folder)
    first = folder_source(images, FolderLooks(KeptDigests(tmp_path / "listings"))).files(tmp_path, "test")
    (folder / "b").rename(folder / "c")
    second = folder_source(images, FolderLooks(KeptDigests(tmp_path / "listings"))).files(tmp_path, "test")
    assert first != second
