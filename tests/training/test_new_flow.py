"""The flow that a training starts with."""

from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import NotEnoughMemoryError
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.model_file import write_model
from glow_pipeline.training.new_flow import untrained_flow
from tests.conftest import MakeTable, jittered_glow, model_record, random_images

MODEL = {"K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(24), 4)


def test_model_with_too_few_classes_is_refused(table: ImageTable, tmp_path: Path) -> None:
    parameters = Parameters.model_validate({"model": {**MODEL, "y_condition": True, "num_classes": 2}})
    with pytest.raises(GlowPipelineError, match=r"^model\.num_classes=2: digits has 3 classes; use at least 3"):
        untrained_flow(parameters, table.record.image_format, 3)
    assert untrained_flow(parameters, table.record.image_format, 2).num_classes == 2
    path = tmp_path / "model.safetensors"
    conditioned = {"y_condition": True, "num_classes": 2}
    write_model(path, model_record(**conditioned), jittered_glow(**conditioned).state_dict())
    from_it = Parameters.model_validate({"model": {**MODEL, **conditioned}, "train": {"checkpoint": str(path)}})
    with pytest.raises(GlowPipelineError, match=r"^train\.checkpoint=.*: a model of 2 classes, but the images have 3;"):
        untrained_flow(from_it, table.record.image_format, 3)
    assert untrained_flow(from_it, table.record.image_format, 2).num_classes == 2


def test_model_beyond_all_memory_is_one_line(table: ImageTable) -> None:
    parameters = Parameters.model_validate({"model": {**MODEL, "hidden_channels": 10**9}})
    with pytest.raises(
        NotEnoughMemoryError, match=r"^model\.hidden_channels=1000000000: memory does not suffice; lower"
    ):
        untrained_flow(parameters, table.record.image_format, 3)
