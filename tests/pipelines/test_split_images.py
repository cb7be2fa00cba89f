"""The split of a table's images before a model is trained."""

import logging
from pathlib import Path

import pytest

from glow_pipeline.images.parts import split_parts
from glow_pipeline.parameters import IngestParameters, Parameters
from glow_pipeline.pipelines.train.nodes import build_glow, split_images, train_glow
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.model_file import write_model
from glow_pipeline.training.resume import ClaimedTraining
from tests.conftest import MakeTable, jittered_glow, model_record, random_images

QUARTERS = IngestParameters(val_percentage=25.0, calibration_percentage=25.0)


def test_copies_in_published_test_images_are_reported(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    images = random_images(12)
    train, test = make_table(images, 8), make_table(images[:5], 8)
    with caplog.at_level(logging.INFO):
        fit, val, calibration, tested, copies = split_images(train, test, QUARTERS, 0)
    assert (len(fit), len(val), len(calibration), len(tested)) == (6, 3, 3, 5)
    assert copies == {
        "train_copies": 0,
        "val_copies_of_fit": 0,
        "calibration_copies_of_train": 0,
        "test_copies_of_train": 5,
    }
    assert caplog.messages == ["Exact copies in tiny: test images that are training images: 5"]


def test_copies_in_published_calibration_images_stay(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    train = make_table(random_images(1).repeat(12, 1, 1, 1), 8)
    with caplog.at_level(logging.INFO):
        _, _, calibration, _, copies = split_images(train, make_table(random_images(4, seed=1), 8), QUARTERS, 0)
    assert (len(calibration), copies["calibration_copies_of_train"]) == (3, 3)
    assert "calibration images that are also trained on or validated on (kept): 3" in caplog.messages[0]


def test_nothing_is_reported_without_copies(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        split_images(make_table(random_images(12), 8), make_table(random_images(4, seed=1), 8), IngestParameters(), 0)
    assert not caplog.messages


def test_calibration_images_seen_before_are_warned_of(
    make_table: MakeTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table, start = make_table(random_images(24), 4), tmp_path / "model.safetensors"
    parts = split_parts(table, 25.0, 12.5, 0)
    seen = parts.calibration.table.content_hashes[:2].copy()
    write_model(start, model_record(), jittered_glow().state_dict(), seen)
    model = {"K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}
    train = {"n_epochs": 1, "batch_size": 8, "checkpoint": str(start)}
    parameters = Parameters.model_validate({"device": "cpu", "model": model, "train": train})
    test_images = make_table(random_images(4, seed=1), 4)
    trained, _, samples = train_glow(
        build_glow(table, parameters),
        parts.fit,
        parts.validation,
        parts.calibration,
        test_images,
        parameters,
        ClaimedTraining(None),
        Provenance(),
    )
    assert caplog.messages == [
        "2 of 3 calibration images were trained on by the model of train.checkpoint: their scores in the "
        "detector will be too low."
    ]
    assert samples == {}, "there is no folder that keeps some"
    assert trained.record.parts is not None
    assert trained.record.parts.calibration.count == 3
