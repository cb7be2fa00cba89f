"""Stored models beside the one that a command is about, and their detectors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.outliers.scores.density_sum import DensitySum
from glow_pipeline.outliers.scores.score import FittedScore
from glow_pipeline.outliers.scores.typicality import Typicality
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.model_file import read_record, write_model
from glow_pipeline.training.models_with_detectors import detector_of, newest_model, other_seeds, read_with_detector
from tests.conftest import jittered_glow, model_record

PARAMETERS = {"seed": 0, "model": {"K": 1}, "train": {"lr": 0.1, "n_epochs": 2, "threads": 1}, "ingest": {"path": "a"}}


def store(folder: Path, version: str, **parameters: object) -> Path:
    """Store a model trained with PARAMETERS but for these; its weights are those of no other version."""
    flow = jittered_glow()
    with torch.no_grad():
        next(flow.parameters()).add_(float(version))
    record = model_record().model_copy(update={"parameters": {**PARAMETERS, **parameters}})
    path = folder / "tiny" / "glow_model.safetensors" / version / "glow_model.safetensors"
    write_model(path, record, flow.state_dict())
    return path


def store_detector(
    model: Path, version: str, *scores: FittedScore, draws: int = 1, codecs: Mapping[str, str] | None = None
) -> Path:
    """Store a detector of these scores; without any, of typicality."""
    record = DetectorRecord(
        model_sha256=stored_weights_sha256(model),
        draws=draws,
        codecs=dict(codec_versions() if codecs is None else codecs),
        provenance=Provenance(kedro_session=version),
    )
    fitted = {score.name: score for score in scores or [Typicality(fitted={"mean": np.array([1.0])})]}
    path = model.parents[1].with_name("glow_detector.safetensors") / version / "glow_detector.safetensors"
    write_detector(path, Detector(fitted, {name: np.array([0.5]) for name in fitted}, record))
    return path


def test_newest_model_of_each_other_seed_is_taken(tmp_path: Path) -> None:
    own = store(tmp_path, "1")
    store(tmp_path, "2", seed=1)
    newer, other = store(tmp_path, "3", seed=1), store(tmp_path, "4", seed=2)
    store(tmp_path, "5")  # of the same seed
    record = read_record(own)
    assert other_seeds(own.parents[1], record, 2) == [other, newer]
    assert other_seeds(own.parents[1], record, 1) == [other]
    assert other_seeds(own.parents[1], record, 0) == []


@pytest.mark.parametrize(
    ("parameters", "alike"),
    [
        ({"model": {"K": 2}}, False),
        ({"train": {"lr": 0.2, "n_epochs": 2, "threads": 1}}, False),
        ({"train": {"lr": 0.1, "n_epochs": 3, "threads": 1}}, False),
        ({"train": {"lr": 0.1, "n_epochs": 2, "threads": 4}}, True),
        ({"ingest": {"path": "b"}}, True),
    ],
)
def test_seeds_are_of_one_recipe(tmp_path: Path, parameters: dict[str, object], alike: bool) -> None:
    own = store(tmp_path, "1")
    store(tmp_path, "2", seed=1, **parameters)
    record = read_record(own)
    if alike:
        assert len(other_seeds(own.parents[1], record, 1)) == 1
        return
    with pytest.raises(GlowPipelineError, match=r"benchmark.seeds=2: .* with seed=0; train another with seed=1"):
        other_seeds(own.parents[1], record, 1)


def test_damaged_models_are_passed_over(tmp_path: Path) -> None:
    own, other = store(tmp_path, "1"), store(tmp_path, "2", seed=1)
    store(tmp_path, "3", seed=2).write_bytes(b"damaged")
    assert other_seeds(own.parents[1], read_record(own), 1) == [other]


def test_newest_model_is_of_the_dataset(tmp_path: Path) -> None:
    store(tmp_path, "1")
    newest = store(tmp_path, "2")
    assert newest_model(tmp_path, "tiny") == newest
    assert newest_model(tmp_path, "mnist") is None


def test_newest_detector_of_the_model_is_read(tmp_path: Path) -> None:
    first, second = store(tmp_path, "1"), store(tmp_path, "2")
    store_detector(first, "3")
    newest = store_detector(first, "4")
    store_detector(second, "5")
    assert detector_of(first, ["typicality"], 1) == newest
    model, detector = read_with_detector(first, ["nll", "typicality"], 1)
    assert detector.record.version == "4"
    detector.check_model(stored_weights_sha256(first))
    assert model.record == read_record(first)


def test_missing_fit_names_the_calibrate_command(tmp_path: Path) -> None:
    model = store(tmp_path, "1")
    command = r"--pipelines calibrate --params dataset=tiny,stored_model=1,ood.scores=typicality"
    with pytest.raises(GlowPipelineError, match=f"{command}`"):
        detector_of(model, ["nll", "typicality"], 1)
    store_detector(model, "2")
    with pytest.raises(GlowPipelineError, match=f"{command},ood.draws=2`"):
        detector_of(model, ["typicality"], 2)


def test_other_codecs_need_a_new_detector(tmp_path: Path) -> None:
    model = store(tmp_path, "1")
    both = Typicality(fitted={"mean": np.array([1.0])}), DensitySum(fitted={"any": np.array([1.0])})
    same = store_detector(model, "2", *both)
    assert detector_of(model, ["density_sum"], 1) == same
    path = store_detector(model, "3", *both, codecs={"png": "another"})
    assert detector_of(model, ["typicality"], 1) == path, "it compresses nothing"
    with pytest.raises(GlowPipelineError, match=r"its scores density_sum are not fitted .* the codecs"):
        detector_of(model, ["density_sum"], 1)


def test_scores_without_fit_need_no_detector(tmp_path: Path) -> None:
    model = store(tmp_path, "1")
    assert detector_of(model, ["nll"], 1) is None
    _, detector = read_with_detector(model, ["nll"], 1)
    detector.check_model(stored_weights_sha256(model))
