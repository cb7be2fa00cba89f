"""Images are the ones that they were before."""

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.training.same_origin import check_same_origin
from tests.conftest import model_record

BEFORE = model_record().train_table.model_copy(update={"source_files": {"a.png": "1", "b.png": "2"}})


def test_same_origin_is_accepted() -> None:
    left_out = BEFORE.model_copy(update={"unreadable": {"a.png": "why"}, "count": 3})
    check_same_origin(BEFORE, left_out.origin, subject="a training had", remedy="or start again")


@pytest.mark.parametrize(
    ("changed", "listed"),
    [
        ({"source_files": {"a.png": "1"}}, "source_files"),
        ({"split": "test", "on_unreadable": "skip"}, "split, on_unreadable"),
    ],
)
def test_other_origin_is_refused_with_the_changes(changed: dict[str, object], listed: str) -> None:
    with pytest.raises(GlowPipelineError) as refused:
        check_same_origin(BEFORE, BEFORE.model_copy(update=changed), subject="a training had", remedy="or start again")
    assert str(refused.value) == (
        f"a training had other images than there are now ({listed} changed); bring those back, or start again"
    )


def test_renamed_files_are_the_same_by_checksum() -> None:
    renamed = BEFORE.model_copy(update={"source_files": {"d.png": "2", "c.png": "1"}, "split": "test"})
    check_same_origin(BEFORE, renamed, subject="a model had", remedy="or train again", by_checksum=True)
    other = BEFORE.model_copy(update={"source_files": {"a.png": "1", "b.png": "3"}})
    with pytest.raises(GlowPipelineError, match=r"\(source_files changed\)"):
        check_same_origin(BEFORE, other, subject="a model had", remedy="or train again", by_checksum=True)
