from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_files import RECORD
from glow_pipeline.training.unseen import check_same_images, unseen_images
from tests.conftest import MakeTable, model_record, random_images


@pytest.fixture
def published(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(6), 4)


def folder_table(table: ImageTable, **image_selection: Any) -> ImageTable:
    """Return the same images as those of a user's folder."""
    given: dict[str, Any] = {
        "source": "folder",
        "path": Path("xrays"),
        "eval_percentage": 10.0,
        "seed": 0,
        **image_selection,
    }
    record = table.record.model_copy(update={"image_selection": table.record.image_selection.model_copy(update=given)})
    (table.folder / RECORD).write_text(record.model_dump_json())
    return ImageTable(table.folder)


def test_trained_folder_images_are_left_out(published: ImageTable) -> None:
    found = unseen_images(folder_table(published), published.content_hashes[[1, 4]])
    assert (list(found.images.rows), found.copies) == ([0, 2, 3, 5], 2)


def test_published_copies_are_counted_and_stay(published: ImageTable) -> None:
    found = unseen_images(published, published.content_hashes[[1, 4]])
    assert (len(found.images), found.copies) == (6, 2)


def test_folder_with_no_unseen_image_is_refused(published: ImageTable) -> None:
    with pytest.raises(GlowPipelineError, match="each of its 6 images for testing is an exact copy"):
        unseen_images(folder_table(published), published.content_hashes)


def test_unknown_training_images_refuse_a_drawn_split(published: ImageTable) -> None:
    with pytest.raises(GlowPipelineError, match=r"does not say which images it was trained on, nor what its classes"):
        unseen_images(folder_table(published), None)
    with pytest.raises(GlowPipelineError, match="train it again"):
        unseen_images(folder_table(published, eval_path=Path("others"), eval_percentage=None), None)


def test_unknown_training_images_are_not_counted(published: ImageTable) -> None:
    assert unseen_images(published, None).copies is None, "nobody knows"
    assert len(unseen_images(published, None).images) == 6


def test_changed_test_images_are_refused_with_both_ways(published: ImageTable) -> None:
    now = folder_table(published)
    then = now.record.model_copy(update={"source_files": {"xrays": "0" * 64}, "count": 9})
    record = model_record().model_copy(update={"test_table": then})
    with pytest.raises(GlowPipelineError) as refused:
        check_same_images(record, now.record, chosen=False)
    assert "was trained and tested (9 test images) with other images than there are now (source_files changed)" in str(
        refused.value
    )
    assert "bring those back, train again, or set stored_model=session" in str(refused.value)
    check_same_images(record, now.record, chosen=True)


@pytest.mark.parametrize("moved", [{"path": Path("elsewhere/xrays")}, {"eval_path": Path("other")}])
def test_moved_images_and_other_test_folders_are_accepted(published: ImageTable, moved: dict[str, Any]) -> None:
    then = folder_table(published).record
    if "eval_path" in moved:
        then = then.model_copy(update={"source_files": {"xrays": "0" * 64}})
    record = model_record().model_copy(update={"test_table": then})
    check_same_images(record, folder_table(published, **moved).record, chosen=False)


def test_same_images_are_recognised_under_any_name(published: ImageTable) -> None:
    hashes = np.sort(published.content_hashes)[::-1]
    found = unseen_images(folder_table(published), np.unique(hashes[:3]))
    assert not set(found.images.content_hashes) & set(hashes[:3])


def test_other_files_of_a_published_set_are_warned_of(published: ImageTable, caplog: pytest.LogCaptureFixture) -> None:
    for digest, said in (("0" * 64, ["others"]), (None, [])):
        files = published.record.source_files if digest is None else {"t10k": digest}
        then = published.record.model_copy(update={"source_files": files})
        check_same_images(model_record().model_copy(update={"test_table": then}), published.record, chosen=True)
        assert ["others" for text in caplog.messages if "its files are others than those that model " in text] == said
        caplog.clear()
