from pathlib import Path

import pytest

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.sources.tiny_imagenet import TINYIMAGENET
from glow_pipeline.images.table_writer import plan_table
from tests.images.sources.archive_files import zip_of
from tests.images.sources.conftest import Publish
from tests.images.sources.contract import error_of, opened
from tests.images.sources.miniatures.tiny_imagenet import FILE, ROOT, members, miniature

WNIDS_TXT, ANNOTATIONS = f"{ROOT}/wnids.txt", f"{ROOT}/val/val_annotations.txt"


@pytest.mark.parametrize(
    ("changed", "split", "named"),
    [
        ({WNIDS_TXT: None}, "train", WNIDS_TXT),
        ({ANNOTATIONS: None}, "test", ANNOTATIONS),
        ({WNIDS_TXT: b"n01443537\nn02124075\n"}, "train", "n04067472"),
        ({ANNOTATIONS: b"val_0.JPEG\tn99999999\t0\t0\t9\t9\n"}, "test", "n99999999"),
        ({ANNOTATIONS: b"val_0.JPEG\n"}, "test", ""),
        ({ANNOTATIONS: b"\xff\xfe"}, "test", ""),
        ({f"{ROOT}/train/../../../evil.JPEG": b"evil"}, "train", ".."),
        ({f"{ROOT}/train/loose.JPEG": b"loose"}, "train", "loose.JPEG"),
    ],
)
def test_lists_that_do_not_match_are_refused(
    publish: Publish, changed: dict[str, bytes | None], split: Split, named: str
) -> None:
    raw = publish({FILE: zip_of({name: c for name, c in (members() | changed).items() if c is not None})})
    message = error_of(lambda: opened(TINYIMAGENET, raw, split))
    assert message.startswith(f"{raw / FILE}: not a complete Tiny ImageNet archive (")
    assert named in message
    assert message.endswith("fetch it again")
    assert not list(raw.parent.rglob("evil*"))


def test_damaged_list_is_refused(publish: Publish) -> None:
    complete = miniature().files[FILE]
    # The content of wnids.txt follows its header of 30 bytes and its name.
    at = complete.index(b"PK\x03\x04", complete.index(WNIDS_TXT.encode()) - 30) + 30 + len(WNIDS_TXT)
    raw = publish({FILE: complete[:at] + b"\xff\xff\xff" + complete[at + 3 :]})
    assert error_of(lambda: opened(TINYIMAGENET, raw, "test")).startswith(f"{raw / FILE}: ")


def test_image_missing_from_the_archive_is_named(publish: Publish, tmp_path: Path) -> None:
    files = members()
    del files[f"{ROOT}/val/images/val_2.JPEG"]
    raw = publish({FILE: zip_of(files)})
    image_format = ImageFormat(channels=3, height=64, width=64, n_bits=8, fit="resize")
    plan = plan_table(ImageSelection.of("tinyimagenet"), "test", image_format, raw)
    message = error_of(lambda: plan.write(tmp_path / "table"))
    assert f"{ROOT}/val/images/val_2.JPEG (not in the archive)" in message
