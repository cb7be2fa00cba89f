import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.celeba import CELEBA
from glow_pipeline.images.sources.source import EncodedSplit, Split
from glow_pipeline.images.table_writer import plan_table
from tests.images.sources.archive_files import zip_of
from tests.images.sources.conftest import Publish
from tests.images.sources.contract import error_of, images_of, opened
from tests.images.sources.miniatures.celeba import (
    ATTR,
    ATTRIBUTES,
    COUNT,
    EVAL,
    NAMES,
    VALUES,
    ZIP,
    attributes_txt,
    images,
    miniature,
)

SITE = "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@pytest.fixture
def raw(publish: Publish) -> Path:
    return publish(miniature().files)


@pytest.fixture
def unpacked(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torchvision expects it, with three more lists, which it checks."""
    folder = tmp_path / "unpacked"
    shutil.copytree(raw / "celeba", folder / "celeba")
    with zipfile.ZipFile(folder / ZIP) as archive:
        archive.extractall(folder / "celeba")
    rows = "".join(f"{name} 1\n" for name in NAMES)
    (folder / "celeba" / "identity_CelebA.txt").write_text(rows)
    for name in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        (folder / "celeba" / name).write_text(f"{COUNT}\nx\n{rows}")
    file_list = [
        ("", hashlib.md5((folder / "celeba" / name).read_bytes()).hexdigest(), name)
        for _, _, name in datasets.CelebA.file_list
    ]
    monkeypatch.setattr(datasets.CelebA, "file_list", file_list)
    return folder


@pytest.mark.parametrize(("split", "parts"), [("train", ("train", "valid")), ("test", ("test",))])
def test_celeba_is_as_torchvision_reads_it(raw: Path, unpacked: Path, split: Split, parts: tuple[str, ...]) -> None:
    theirs = [datasets.CelebA(unpacked, split=part) for part in parts]
    expected = [
        (of_part.filename[i], int(of_part[i][1][of_part.attr_names.index("Smiling")]), np.array(of_part[i][0]))
        for of_part in theirs
        for i in range(len(of_part))
    ]
    ours = opened(CELEBA, raw, split)
    assert isinstance(ours, EncodedSplit)
    names = [ours.reader.name(i) for i in range(len(expected))]
    assert names == [f"img_align_celeba/{name}" for name, _, _ in expected]
    assert ours.labels.tolist() == [label for _, label, _ in expected]
    assert all(map(np.array_equal, images_of(ours), [image for _, _, image in expected]))
    assert ours.own_validation == (len(theirs[1]) if split == "train" else 0)


def test_only_one_attribute_is_the_class(publish: Publish) -> None:
    expected = list(miniature().expected["train"].labels)
    others = -VALUES
    others[:, ATTRIBUTES.index("Smiling")] *= -1
    raw = publish(miniature().files | {ATTR: attributes_txt(others)})
    assert opened(CELEBA, raw, "train").labels.tolist() == expected
    raw = publish(miniature().files | {ATTR: attributes_txt(-VALUES)})
    assert opened(CELEBA, raw, "train").labels.tolist() == [1 - label for label in expected]


ROWS = attributes_txt().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({ATTR: attributes_txt().replace(b"Smiling", b"Frowning")}, "Smiling"),
        ({ATTR: b"".join(ROWS[:5])}, NAMES[4]),
        ({ATTR: b"".join([*ROWS[:2], b"000001.jpg  1\n", *ROWS[3:]])}, ""),
        ({ATTR: b"\xff\xfe"}, ""),
        ({EVAL: b"000001.jpg 0\nunknown.jpg 0\n"}, "unknown.jpg"),
        ({EVAL: b"000001.jpg\n"}, ""),
        ({EVAL: b"000001.jpg train\n"}, "train"),
        ({EVAL: b"../../evil.jpg 0\n"}, "evil.jpg"),
    ],
)
def test_lists_that_do_not_match_are_refused(publish: Publish, changed: dict[str, bytes], named: str) -> None:
    raw = publish(miniature().files | changed)
    message = error_of(lambda: opened(CELEBA, raw, "train"))
    assert message.startswith(f"{raw / ATTR}: does not fit {Path(EVAL).name} (")
    assert named in message
    assert SITE in message


def test_damaged_zip_directory_is_refused(publish: Publish) -> None:
    raw = publish(miniature().files | {ZIP: miniature().files[ZIP].replace(b"PK\x01\x02", b"PK\x01\x03")})
    message = error_of(lambda: opened(CELEBA, raw, "train"))
    assert message.startswith(f"{raw / ZIP}: not a complete zip archive (")


def test_image_missing_from_the_archive_is_named(publish: Publish, tmp_path: Path) -> None:
    files = images()
    del files[f"img_align_celeba/{NAMES[2]}"]
    raw = publish(miniature().files | {ZIP: zip_of(files)})
    image_format = ImageFormat(channels=3, height=8, width=8, n_bits=8, fit="resize")
    plan = plan_table(ImageSelection.of("celeba"), "test", image_format, raw)
    message = error_of(lambda: plan.write(tmp_path / "table"))
    assert f"img_align_celeba/{NAMES[2]} (not in the archive)" in message
