"""The figures on a model card, each command's in a file of its own.

A command adds its file and reads all of them again, so that two commands at once lose nothing.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict

from glow_pipeline.outliers.benchmark.out_sets import Kind
from glow_pipeline.outliers.metric_names import REFERENCES, metric_name, scores_in
from glow_pipeline.provenance import Provenance

COPIES = ("train_copies", "val_copies_of_fit", "calibration_copies_of_train", "test_copies_of_train")


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]
"""A number that JSON can have; None where it is not finite or not known."""


class Samples(BaseModel):
    """How the picture of samples was drawn."""

    model_config = ConfigDict(frozen=True)

    n: int
    temperature: float
    seed: int
    not_finite: int


class TrainingResult(BaseModel):
    """The figures of a training that its model's record does not have.

    Attributes:
        test_bits_per_dim: of the test images; None where it is not finite.
        given_class: the same given the class of each image; None also for a model without classes.
        n_test: number of test images.
        copies: kind of exact copies -> how many were found.
        weights_sha256: digest of the model's weights, by which detectors name it.
        samples: of the picture beside the card.
    """

    model_config = ConfigDict(frozen=True)

    test_bits_per_dim: Figure
    given_class: Figure = None
    n_test: int
    copies: dict[str, int]
    weights_sha256: str
    samples: Samples | None


class DetectionRow(BaseModel):
    """How well one score tells a set of outliers from the test images."""

    model_config = ConfigDict(frozen=True)

    out_set: str
    kind: Kind | None
    score: str
    n_in: int
    n_out: int
    auroc: Figure
    auroc_low: Figure = None
    auroc_high: Figure = None
    fpr_at_95_tpr: Figure


class DetectionResult(BaseModel):
    """The outlier figures that one command has measured with a model.

    Attributes:
        session: version of the command's results, which is the time of its start.
        command: as typed.
        detector: version of the detector in use; None: none was needed.
    """

    model_config = ConfigDict(frozen=True)

    pipeline: Literal["ood", "benchmark"]
    session: str
    command: str | None
    detector: str | None
    rows: tuple[DetectionRow, ...]


def ood_result(metrics: Mapping[str, Any], provenance: Provenance) -> DetectionResult:
    """Return the figures of `ood`: of its main score, and of the likelihood and the control where these are there.

    Args:
        metrics: as `ood_metrics` has them.
        provenance: of the command.
    """
    scores = scores_in(metrics)
    shown = [*scores[:1], *(score for score in scores[1:] if score.name in REFERENCES)]
    rows = tuple(
        DetectionRow(
            out_set=metrics["out_dataset"],
            kind=None,
            score=score.name,
            n_in=metrics["n_in"],
            n_out=metrics["n_out"],
            **{
                key: metrics.get(metric_name(key, score, scores[0]))
                for key in ("auroc", "auroc_low", "auroc_high", "fpr_at_95_tpr")
            },
        )
        for score in shown
    )
    return DetectionResult(
        pipeline="ood",
        session=str(provenance.kedro_session),
        command=provenance.command,
        detector=metrics.get("detector_session"),
        rows=rows,
    )


def benchmark_result(
    table: pd.DataFrame, main: str, dataset: str, version: str, provenance: Provenance
) -> DetectionResult:
    """Return the figures of the main score of a benchmark, of this model alone and in its own direction.

    Args:
        table: as `benchmark_table` has it: one row a model, pair and score.
        main: name of the main score.
        dataset, version: of the model.
        provenance: of the command.
    """
    own = table[(table["score"] == main) & (table["in_dataset"] == dataset) & (table["model"] == version)]
    columns = [name for name in DetectionRow.model_fields if name in own]
    rows = tuple(
        DetectionRow(out_set=row["out_dataset"], **{name: row[name] for name in columns})
        for row in own.to_dict("records")
    )
    detectors = own["detector"].dropna().unique().tolist()
    return DetectionResult(
        pipeline="benchmark",
        session=str(provenance.kedro_session),
        command=provenance.command,
        detector=str(detectors[0]) if detectors else None,
        rows=rows,
    )
