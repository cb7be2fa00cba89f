from pathlib import Path

import numpy as np
import pytest

from glow_pipeline.images.summary import summary
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from tests.conftest import MakeTable, random_images
from tests.images.plans import IMAGE_FORMAT, picture_folder


def table_of(tmp_path: Path, classes: tuple[str, ...] | None = None) -> ImageTable:
    images = picture_folder(tmp_path / "pictures", 9, unreadable=(0, 8))
    for name in ("1.dcm", "2.DCM", "notes.txt"):
        (tmp_path / "pictures" / name).write_bytes(b"no picture")
    images = images.model_copy(update={"classes": classes})
    plan_table(images, "test", IMAGE_FORMAT, tmp_path, "skip").write(tmp_path / "table")
    return ImageTable(tmp_path / "table")


def test_summary_has_classes_and_left_out_files(tmp_path: Path) -> None:
    assert summary(table_of(tmp_path)) == (
        "7 images: a (4), b (3); left out: 2 .dcm, 1 .txt; 2 unreadable: "
        "a/0000.png (not an image, or of an unknown kind), b/0008.png (not an image, or of an unknown kind)"
    )


def test_summary_names_the_chosen_classes_alone(tmp_path: Path) -> None:
    assert summary(table_of(tmp_path, ("b",))).startswith("3 images: b (3); ")


@pytest.mark.parametrize(("n", "line"), [(1, "1 image"), (4, "4 images")])
def test_summary_of_classes_without_names_is_a_number(make_table: MakeTable, n: int, line: str) -> None:
    assert summary(make_table(random_images(n), 8)) == line
    assert summary(make_table(random_images(9), 8).subset(np.arange(n))) == line
