"""The parameters of a benchmark of many pairs of sets: `benchmark.*`."""

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from glow_pipeline.outliers.benchmark.out_sets import CALIBRATION, is_out_set
from glow_pipeline.parameters.group import ParameterGroup, split_at_plus
from glow_pipeline.registry import ALL


def _check_names(names: list[str]) -> list[str]:
    for name in names:
        if name == ALL or is_out_set(name):
            continue
        like = get_close_matches(name, [*SOURCES, *CHANGES, CALIBRATION], n=1, cutoff=0.5)
        hint = f"; did you mean {like[0]}?" if like else ""
        raise PydanticCustomError(
            "out_sets",
            "Input should be names of datasets, with classes as in mnist_class_0-4, of changes ({changes}), {other} "
            "or all, joined by +; there is no {name}{hint}",
            {"changes": ", ".join(CHANGES), "other": CALIBRATION, "name": name, "hint": hint},
        )
    return list(dict.fromkeys(names))


OutSets = Annotated[list[str], Field(min_length=1), BeforeValidator(split_at_plus), AfterValidator(_check_names)]


class BenchmarkParameters(ParameterGroup):
    """The benchmark: one model against many sets of outliers."""

    out_datasets: OutSets = Field(
        [ALL],
        examples=["mnist+textures+noise", "pneumoniamnist_class_1", ALL],
        description="sets of outliers, several joined by +; all: every control, change and dataset on disk "
        f"(calibration: the calibration images; {CHANGES.summaries()})",
    )
    n_images: int | None = Field(None, ge=2, description="images of each set at most, drawn by seed; null: all")
    seeds: int = Field(
        1,
        ge=1,
        description="number of training seeds: the model of stored_model, and of each other seed the newest model that "
        "was trained with the same parameters",
    )
    both_directions: bool = Field(
        False,
        description="also measure how well the models of these datasets, where there are any, find images of dataset",
    )
