import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.images.decoding import FORMATS, UnreadableImageError, decode
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import check_folder, folder_source
from glow_pipeline.images.sources.image_files import suffixes
from tests.images.sources.contract import error_of
from tests.images.sources.folders import all_of, checksum, image_selection, names, opened, picture, put

KINDS = {
    **dict.fromkeys((".pbm", ".pgm", ".ppm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    ".bmp": "BMP",
    ".gif": "GIF",
    ".png": "PNG",
    ".webp": "WEBP",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".apng": "PNG",
    ".pnm": "PPM",
    ".pfm": "PPM",
}


# Images and their classes -----------------------------------------------------------------------


def test_flat_folder_is_one_class_by_name(tmp_path: Path) -> None:
    put(tmp_path, "b.png", "a.png", "C.png", "10.png", "9.png")
    assert list(all_of(tmp_path).items()) == [(name, 0) for name in ("10.png", "9.png", "C.png", "a.png", "b.png")]


def test_folders_are_classes_by_name(tmp_path: Path) -> None:
    put(tmp_path, "dogs/1.png", "cats/2.png", "cats/1.png", "Ants/1.png")
    expected = [("Ants/1.png", 0), ("cats/1.png", 1), ("cats/2.png", 1), ("dogs/1.png", 2)]
    assert list(all_of(tmp_path).items()) == expected


def test_classes_are_those_of_torchvisions_image_folder(tmp_path: Path) -> None:
    """Its documented rule, without its import of seconds: sorted names of the folders, images at any depth."""
    put(tmp_path, "b/2.png", "a/x/y/1.png", "b/z/1.png", "a/1.png", "c/q/1.png")
    classes = sorted(entry.name for entry in tmp_path.iterdir())
    paths = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")]
    assert all_of(tmp_path) == {str(path): classes.index(path.parts[0]) for path in paths}


def test_images_at_the_top_make_a_folder_flat(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "cats/1.png", "dogs/deep/1.png")
    assert list(all_of(tmp_path).items()) == [("a.png", 0), ("cats/1.png", 0), ("dogs/deep/1.png", 0)]


def test_a_folder_without_images_is_no_class(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    (tmp_path / "a_notes").mkdir()
    (tmp_path / "a_notes" / "notes.txt").write_text("no picture")
    (tmp_path / "bare" / "barer").mkdir(parents=True)
    assert all_of(tmp_path) == {"cats/1.png": 0, "dogs/1.png": 1}


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", ".hidden/1.png", "cats/.thumbnails/1.png", "cats/._1.png", ".top.png")
    for name in ("README.txt", "cats/labels.csv", "cats/Thumbs.db", "cats/png", "cats/1.png.part", "cats/1.npy"):
        (tmp_path / name).write_bytes(b"no picture")
    assert all_of(tmp_path) == {"cats/1.png": 0}


def test_every_known_suffix_is_decoded_in_either_case(tmp_path: Path) -> None:
    known = {suffix for suffix in suffixes() if suffix in KINDS}
    assert known == set(KINDS)
    for ending, kind in KINDS.items():
        (tmp_path / f"small{ending}").write_bytes(picture(120, kind))
        (tmp_path / f"LARGE{ending.upper()}").write_bytes(picture(120, kind))
    split = opened(image_selection(tmp_path, tmp_path), "test")
    assert len(split.labels) == 2 * len(KINDS)
    for index in range(len(split.labels)):
        image = decode(split.reader(index))
        assert image.shape[1:] == (3, 2)
        assert abs(image.double().mean().item() - 120) < 3


def test_a_folder_may_be_called_like_an_image(tmp_path: Path) -> None:
    put(tmp_path, "cats.png/1.png", "dogs/2.png/1.png")
    assert all_of(tmp_path) == {"cats.png/1.png": 0, "dogs/2.png/1.png": 1}


def test_reader_returns_its_files_and_pickles(tmp_path: Path) -> None:
    put(tmp_path, *(f"{letter}/{index}.png" for letter in "ab" for index in range(4)))
    split = opened(image_selection(tmp_path, percentage=40))
    reader = pickle.loads(pickle.dumps(split.reader))
    for index, name in enumerate(names(split)):
        assert reader.name(index) == name
        assert reader(index) == (tmp_path / name).read_bytes()


# Links ------------------------------------------------------------------------------------------


def test_links_are_followed(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere", "x.png", "deep/y.png")
    folder = put(tmp_path / "images", "cats/1.png")
    (folder / "cats" / "link.png").symlink_to(elsewhere / "x.png")
    (folder / "linked").symlink_to(elsewhere)
    assert all_of(folder) == {"cats/1.png": 0, "cats/link.png": 0, "linked/x.png": 1, "linked/deep/y.png": 1}


@pytest.mark.parametrize("target", ["cats", "cats/deep", "."])
@pytest.mark.parametrize("link", ["cats/loop", "cats/deep/loop", "loop"])
def test_link_loops_end_without_repeated_images(tmp_path: Path, link: str, target: str) -> None:
    folder = put(tmp_path / "images", "cats/1.png", "cats/deep/2.png", "dogs/3.png")
    (folder / link).symlink_to(folder / target)
    found = all_of(folder)
    assert {"dogs/3.png", "cats/1.png"} <= set(found)
    real = [(os.path.realpath(folder / name), label) for name, label in found.items()]
    assert len(set(real)) == len(real)
    if target == ".":
        assert found == {"cats/1.png": 0, "cats/deep/2.png": 0, "dogs/3.png": 1}


def test_link_to_its_own_folder_repeats_no_image(tmp_path: Path) -> None:
    """Else one of the two could be for training and the other for testing."""
    folder = put(tmp_path / "images", "a.png", "b.png")
    (folder / "again").symlink_to(folder)
    assert all_of(folder) == {"a.png": 0, "b.png": 0}


def test_broken_link_is_an_unreadable_image(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png")
    for name in ("cats/gone.png", "cats/itself.png"):
        (tmp_path / name).symlink_to(tmp_path / name if "itself" in name else tmp_path / "nowhere.png")
    split = opened(image_selection(tmp_path, tmp_path), "test")
    assert names(split) == ["cats/1.png", "cats/gone.png", "cats/itself.png"]
    for index in (1, 2):
        with pytest.raises(UnreadableImageError) as raised:
            split.reader(index)
        assert str(raised.value)
        assert str(raised.value).isprintable()


def test_broken_link_at_the_top_is_an_image(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert all_of(tmp_path) == {"1.png": 0, "gone.png": 0}


# Names ------------------------------------------------------------------------------------------

ODD = [
    "with space.png",
    "comma,semi;colon.png",
    "new\nline.png",
    "tab\t.png",
    "ünïcödé 画.png",
    "'quote\".png",
    "%s{0}.png",
]


@pytest.mark.parametrize("at_top", [True, False])
def test_names_may_have_any_characters(tmp_path: Path, at_top: bool) -> None:
    put(tmp_path, *(ODD if at_top else [f"{name} class/{name}" for name in ODD]))
    split = opened(image_selection(tmp_path, tmp_path), "test")
    assert len(split.labels) == len(ODD)
    assert split.labels.tolist() == ([0] * len(ODD) if at_top else list(range(len(ODD))))
    found = {split.reader(index) for index in range(len(ODD))}
    assert found == {path.read_bytes() for path in tmp_path.rglob("*.png") if path.is_file()}
    for name in names(split):
        assert name.isprintable()
        name.encode()
    assert any(name.endswith(r"new\nline.png") for name in names(split))


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    """On Linux a name is bytes; archives from elsewhere often bring Latin-1."""
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")  # noqa: PTH118
    try:
        os.mkdir(folder)  # noqa: PTH102
        for name in (b"\xff\xfe.png", b"a.png"):
            with open(os.path.join(folder, name), "wb") as file:  # noqa: PTH118, PTH123
                file.write(picture(len(name)))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only UTF-8")
    before = checksum(tmp_path)
    split = opened(image_selection(tmp_path, tmp_path), "test")
    assert names(split) == [r"caf\xe9/a.png", r"caf\xe9/\xff\xfe.png"]
    reader = pickle.loads(pickle.dumps(split.reader))
    assert [reader(index) for index in range(2)] == [picture(5), picture(6)]
    os.rename(os.path.join(folder, b"\xff\xfe.png"), os.path.join(folder, b"\xff\xfd.png"))  # noqa: PTH104, PTH118
    assert checksum(tmp_path) != before


# Nothing there ----------------------------------------------------------------------------------


def test_absent_or_empty_folder_is_refused(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no picture")
    put(empty, ".hidden/1.png")
    file = put(tmp_path, "file.png") / "file.png"
    for path, problem in (
        (absent, "no such folder"),
        (file, "no such folder"),
        (empty, "no image in it (there are 1 .txt, 1 hidden)"),
    ):
        message = error_of(lambda path=path: folder_source(image_selection(path)).files(tmp_path, "train"))  # type: ignore[misc]
        assert message.startswith(f"{path}: {problem}")
        message = error_of(lambda path=path: check_folder(path, "ood.out_path"))  # type: ignore[misc]
        assert message.startswith(f"ood.out_path={path}: {problem}")
    assert all(kind in message for kind in FORMATS)
    assert "ingest.path" in error_of(lambda: folder_source(ImageSelection(source="folder")).files(tmp_path, "train"))


@pytest.mark.parametrize("name", ["a.png", "cats/1.png", "cats/deep/1.PNG"])
def test_one_image_anywhere_passes_the_check(tmp_path: Path, name: str) -> None:
    check_folder(put(tmp_path, name), "ingest.path")


@pytest.mark.parametrize("closed", ["", "cats", "dogs/deep"])
def test_unreadable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    """The classes after it would have other numbers. Root may look into every folder, hence the patch."""
    put(tmp_path, "cats/1.png", "dogs/1.png", "dogs/deep/1.png")
    scandir = os.scandir

    def refuse(path: str | os.PathLike[str]) -> Any:
        if Path(path) == tmp_path / closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    message = error_of(lambda: folder_source(image_selection(tmp_path)).files(tmp_path, "train"))
    assert message.startswith(f"{tmp_path / closed}: Permission denied")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_image_without_permission_is_unreadable(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png")
    before = checksum(tmp_path)
    (tmp_path / "2.png").chmod(0)
    assert checksum(tmp_path) != before
    with pytest.raises(UnreadableImageError, match="Permission denied"):
        opened(image_selection(tmp_path, tmp_path), "test").reader(1)


def test_folder_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    message = error_of(lambda: check_folder(tmp_path / "caf\udce9", "ingest.path"))
    assert message == rf"ingest.path={tmp_path}/caf\xe9: its name is not UTF-8; rename it"


# The checksum -----------------------------------------------------------------------------------


def renamed(folder: Path) -> None:
    (folder / "cats" / "1.png").rename(folder / "cats" / "11.png")


def content_changed(folder: Path) -> None:
    content = bytearray((folder / "cats" / "1.png").read_bytes())
    content[-20] ^= 1
    (folder / "cats" / "1.png").write_bytes(content)


def moved_to_another_class(folder: Path) -> None:
    (folder / "cats" / "1.png").rename(folder / "dogs" / "1.png")


def class_renamed(folder: Path) -> None:
    (folder / "cats").rename(folder / "felines")


def swapped(folder: Path) -> None:
    first, second = (folder / "cats" / name for name in ("1.png", "2.png"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])


def removed(folder: Path) -> None:
    (folder / "cats" / "2.png").unlink()


def added(folder: Path) -> None:
    put(folder, "dogs/new.png")


@pytest.mark.parametrize(
    "change", [renamed, content_changed, moved_to_another_class, class_renamed, swapped, removed, added]
)
def test_the_checksum_changes_with_names_and_contents(tmp_path: Path, change: Callable[[Path], None]) -> None:
    put(tmp_path, "cats/1.png", "cats/2.png", "dogs/3.png")
    before = checksum(tmp_path)
    change(tmp_path)
    assert checksum(tmp_path) != before


def test_checksum_ignores_irrelevant_changes(tmp_path: Path) -> None:
    put(tmp_path / "a", "cats/1.png", "cats/2.png", "dogs/3.png")
    before = checksum(tmp_path / "a")
    os.utime(tmp_path / "a" / "cats" / "1.png", (0, 0))
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    assert checksum(tmp_path / "a") == before
    put(tmp_path / "b", "dogs/3.png", "cats/2.png", "cats/1.png")
    assert checksum(tmp_path / "b") == before


def test_checksum_covers_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *(f"{index}.png" for index in range(10)))
    in_one = checksum(tmp_path)
    monkeypatch.setattr("glow_pipeline.images.sources.file_digests.FILES_A_TASK", 2)
    monkeypatch.setattr("glow_pipeline.images.sources.file_digests.TASKS", 2)
    assert checksum(tmp_path) == in_one
    (tmp_path / "9.png").write_bytes(b"")
    assert checksum(tmp_path) != in_one


def test_checksum_covers_unreadable_files(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "nowhere.png")
    before = checksum(tmp_path)
    (tmp_path / "2.png").unlink()
    assert checksum(tmp_path) != before
