"""The parts of a stored model's training table."""

from typing import Any

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.parts import Parts, split_parts
from glow_pipeline.images.table import ImageTable
from glow_pipeline.training.parts_of import parts_of
from glow_pipeline.training.records import ModelRecord, PartRecords
from tests.conftest import MakeTable, model_record, random_images

OTHER_IMAGES = "was trained with other images than there are now; bring those back, or train again"


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(40), 4)


def rows(parts: Parts) -> list[list[int]]:
    return [list(part.rows) for part in (parts.fit, parts.validation, parts.calibration.table)]


def record_of(table: ImageTable, ingest: dict[str, float], parts: Parts | None = None, seed: int = 3) -> ModelRecord:
    """Return the record of a model that was trained with this table."""
    fields: dict[str, Any] = {
        **model_record().model_dump(),
        "train_table": table.record,
        "parameters": {"seed": seed, "ingest": ingest},
        "parts": None if parts is None else PartRecords.of(parts),
    }
    return ModelRecord.model_validate(fields)


@pytest.mark.parametrize(("val", "calibration", "seed"), [(10.0, 10.0, 3), (25.0, 5.0, 0), (10.0, 0.0, 1)])
def test_table_is_split_as_at_training(table: ImageTable, val: float, calibration: float, seed: int) -> None:
    parts = split_parts(table, val, calibration, seed)
    record = record_of(table, {"val_percentage": val, "calibration_percentage": calibration}, parts, seed)
    read = ModelRecord.model_validate_json(record.model_dump_json())
    assert rows(parts_of(read, table)) == rows(parts)


def test_earlier_model_has_no_calibration_images(table: ImageTable) -> None:
    parts = parts_of(record_of(table, {"val_percentage": 10.0}), table)
    assert rows(parts) == rows(split_parts(table, 10.0, 0.0, 3))
    assert len(parts.calibration) == 0


def test_other_images_are_refused(table: ImageTable, make_table: MakeTable) -> None:
    record = record_of(
        table, {"val_percentage": 10.0, "calibration_percentage": 10.0}, split_parts(table, 10.0, 10.0, 3)
    )
    for others in (make_table(random_images(40, seed=1), 4), make_table(random_images(41), 4)):
        with pytest.raises(GlowPipelineError) as refused:
            parts_of(record, others)
        assert str(refused.value) == f"tiny train: model session {OTHER_IMAGES}"


def test_equal_table_of_other_libraries_is_accepted(table: ImageTable) -> None:
    """With the parts recorded; of an earlier model nobody knows whether the pixels are equal."""
    other_made_with = table.record.model_copy(update={"made_with": {"torch": "1"}})
    ingest, parts = {"val_percentage": 10.0, "calibration_percentage": 10.0}, split_parts(table, 10.0, 10.0, 3)
    before = record_of(table, ingest, parts).model_copy(update={"train_table": other_made_with})
    assert rows(parts_of(before, table)) == rows(parts)
    with pytest.raises(GlowPipelineError, match=OTHER_IMAGES):
        parts_of(before.model_copy(update={"parts": None}), table)
