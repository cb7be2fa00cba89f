import gzip
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from glow_pipeline.images.sources.dtd import DTD
from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import tar_of
from tests.images.sources.conftest import Publish
from tests.images.sources.contract import error_of, files_below, images_of, opened
from tests.images.sources.miniatures.dtd import FILE, LISTED, members, miniature

TAR = FILE.removesuffix(".gz")
COMPLETE = miniature().files[FILE]


@pytest.fixture
def raw(publish: Publish) -> Path:
    return publish(miniature().files)


@pytest.mark.parametrize(("split", "parts"), [("train", ("train", "val")), ("test", ("test",))])
def test_dtd_is_as_torchvision_reads_it(raw: Path, tmp_path: Path, split: Split, parts: tuple[str, ...]) -> None:
    with tarfile.open(raw / FILE) as archive:
        archive.extractall(tmp_path / "unpacked" / "dtd", filter="data")
    theirs = [datasets.DTD(tmp_path / "unpacked", split=part) for part in parts]
    expected = [of_part[i] for of_part in theirs for i in range(len(of_part))]
    ours = opened(DTD, raw, split)
    assert ours.labels.tolist() == [label for _, label in expected]
    assert all(map(np.array_equal, images_of(ours), [np.array(image) for image, _ in expected]))
    assert ours.own_validation == (len(theirs[1]) if split == "train" else 0)


def test_archive_is_unzipped_once(raw: Path) -> None:
    files = DTD.files(raw, "train")
    before = (raw / TAR).stat()
    assert (raw / TAR).read_bytes() == gzip.decompress(COMPLETE)
    assert DTD.files(raw, "test") == files
    after = (raw / TAR).stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    "content", [COMPLETE[:-8] + bytes(8), COMPLETE[:100] + b"\xff" * 50 + COMPLETE[150:]], ids=["checksum", "garbage"]
)
def test_archive_that_cannot_be_unzipped_leaves_nothing(publish: Publish, content: bytes) -> None:
    raw = publish({FILE: content})
    assert error_of(lambda: DTD.files(raw, "train")).startswith(f"{raw / FILE}: not a complete archive (")
    assert files_below(raw) == {FILE}


def test_damaged_unzipped_archive_is_to_be_deleted(raw: Path) -> None:
    unzipped = DTD.files(raw, "train")[1].path
    unzipped.write_bytes(unzipped.read_bytes()[:3000])
    message = error_of(lambda: opened(DTD, raw, "train"))
    assert message.startswith(f"{unzipped}: not a complete tar archive (")
    assert "delete it" in message
    unzipped.unlink()
    assert len(opened(DTD, raw, "train").labels) == len(LISTED["train"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"dtd/labels/train1.txt": None}, "dtd/labels/train1.txt"),
        ({"dtd/labels/val1.txt": None}, "dtd/labels/val1.txt"),
        ({"dtd/images/banded/banded_0101.jpg": None}, "dtd/images/banded/banded_0101.jpg"),
        ({"dtd/labels/val1.txt": b"../../../evil.jpg\n"}, "evil.jpg"),
        ({"dtd/labels/train1.txt": b"banded/banded_0101.jpg\n"}, "blotchy"),
        ({"dtd/labels/train1.txt": b"\xff\xfe"}, "utf-8"),
    ],
)
def test_lists_that_do_not_match_are_refused(publish: Publish, changed: dict[str, bytes | None], named: str) -> None:
    files = {name: content for name, content in (members() | changed).items() if content is not None}
    raw = publish({FILE: tar_of(files, "w:gz")})
    message = error_of(lambda: opened(DTD, raw, "train"))
    assert message.startswith(f"{raw / TAR}: ")
    assert named in message
    assert "delete it and fetch it again" in message
