"""The split of a table's images before a model is trained."""

import logging

import pytest

from glow_pipeline.parameters import IngestParameters
from glow_pipeline.pipelines.train.nodes import split_images
from tests.conftest import MakeTable, random_images


def test_copies_in_published_test_images_are_reported(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    images = random_images(12)
    train, test = make_table(images, 8), make_table(images[:5], 8)
    with caplog.at_level(logging.INFO):
        fit, val, tested, copies = split_images(train, test, IngestParameters(val_percentage=25.0), 0)
    assert (len(fit), len(val), len(tested)) == (9, 3, 5)
    assert copies == {"train_copies": 0, "val_copies_of_fit": 0, "test_copies_of_train": 5}
    assert caplog.messages == ["Exact copies in tiny: test images that are training images: 5"]


def test_nothing_is_reported_without_copies(make_table: MakeTable, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        split_images(make_table(random_images(12), 8), make_table(random_images(4, seed=1), 8), IngestParameters(), 0)
    assert not caplog.messages
