"""Names, requirements and examples of registered models; tests/pipelines/test_register.py registers some."""

from dataclasses import replace

import pytest

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.serving.registration import example_file, pinned, registered_name
from glow_pipeline.serving.request import RequestReader
from tests.serving.helpers import small_judge


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("digits", "glow-digits"),
        ("pneumoniamnist_class_0", "glow-pneumoniamnist_class_0"),
        ('folder_a:b/c.d"', "glow-folder_a_b_c_d_"),
    ],
)
def test_names_have_only_what_mlflow_takes(dataset: str, name: str) -> None:
    model = small_judge().model
    assert registered_name(replace(model, record=model.record.model_copy(update={"dataset": dataset}))) == name


def test_requirements_are_exact_and_of_registries() -> None:
    versions = {"python": "3.12.1", "glow_pipeline": "0.1", "torch": "2.11.0+cpu", "numpy": "2.1.0"}
    assert pinned(versions) == ["torch==2.11.0", "numpy==2.1.0"]


@pytest.mark.parametrize("channels", [1, 3])
def test_example_is_an_image_of_the_models_size(channels: int) -> None:
    image_format = ImageFormat(channels=channels, height=8, width=16, n_bits=8, fit="resize")
    example = RequestReader(image_format, 1000).read([example_file(image_format)])
    assert example.shape == (1, channels, 8, 16)
    assert example.unique().tolist() == [128]
