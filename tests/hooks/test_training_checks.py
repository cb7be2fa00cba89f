"""What is checked and completed before a training starts."""

import pytest
from kedro.pipeline import Pipeline, node

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.training_checks import with_batches_of_all
from glow_pipeline.parameters import Parameters


def given(**train: object) -> Parameters:
    return Parameters.model_validate({"device": "cpu", "train": {"batch_size_per_device": 16, **train}})


def pipeline_of(output: str) -> Pipeline:
    return Pipeline([node(lambda: 1, None, output)])


@pytest.mark.parametrize("output", ["untrained_glow", "search_results"])
def test_trainings_have_the_batches_of_all_processes(output: str) -> None:
    assert with_batches_of_all(given(devices=3, nodes=2), pipeline_of(output)).train.batch_size == 96
    assert with_batches_of_all(Parameters(), pipeline_of(output)).train.batch_size == 128


def test_other_pipelines_count_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may run on a machine that has not the devices of a training."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    parameters = Parameters.model_validate({"device": "cuda", "train": {"batch_size_per_device": 16}})
    assert with_batches_of_all(parameters, pipeline_of("samples")) is parameters
    with pytest.raises(GlowPipelineError, match=r"^device=cuda: torch finds none here"):
        with_batches_of_all(parameters, pipeline_of("untrained_glow"))
