"""The parts of a stored model's training table, as its training split it."""

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.parts import Parts, split_parts
from glow_pipeline.images.table import ImageTable
from glow_pipeline.training.records import ModelRecord, PartRecords


def parts_of(record: ModelRecord, train_table: ImageTable) -> Parts:
    """Split a table into the parts that a model was trained with, whatever the command's seed and percentages are.

    Args:
        record: record of the model; one of an earlier version has no calibration images.
        train_table: the training table of the model's images, as it is now.

    Raises:
        GlowPipelineError: the model was trained with other images.
    """
    ingest = record.parameters["ingest"]
    parts = split_parts(
        train_table, ingest["val_percentage"], ingest["calibration_percentage"], record.parameters["seed"]
    )
    if record.parts is None:
        same = record.train_table.makes_the_same(train_table.record)
    else:  # by content, so that a table made anew by another version of a library may be used if it is equal
        same = record.parts == PartRecords.of(parts)
    if not same:
        raise GlowPipelineError(
            f"{train_table.record.title}: model {record.provenance.kedro_session} was trained with other images than "
            f"there are now; bring those back, or train again"
        )
    return parts
