"""A table of changed images: the same pixels in any batch, any subset and any process."""

import pickle

import numpy as np
import pytest
import torch

from glow_pipeline.images.content import content_hash
from glow_pipeline.outliers.benchmark.changed_images import ChangedImages
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from tests.conftest import MakeTable, random_images


@pytest.mark.parametrize(("channels", "n_bits"), [(1, 8), (3, 8), (1, 4)])
def test_images_are_changed_at_eight_bits(make_table: MakeTable, channels: int, n_bits: int) -> None:
    table = make_table(random_images(6, channels), n_bits)
    changed, labels = ChangedImages(table, CHANGES["inverted"], seed=0)[:]
    originals, own_labels = table[:]
    assert torch.equal(changed, 2**n_bits - 1 - originals)
    assert torch.equal(labels, own_labels)


@pytest.mark.parametrize("name", ["noise", "shuffled", "blur"])
def test_batches_and_subsets_change_no_image(make_table: MakeTable, name: str) -> None:
    changed = ChangedImages(make_table(random_images(7), 8), CHANGES[name], seed=3)
    images, _ = changed[:]
    assert torch.equal(torch.cat([changed[2:5][0], changed[5:7][0]]), images[2:])
    assert torch.equal(changed.subset(np.array([5, 1]))[:][0], images[[5, 1]])
    assert torch.equal(pickle.loads(pickle.dumps(changed))[:][0], images)
    assert np.array_equal(changed.content_hashes, content_hash(images).numpy())


def test_seed_and_row_decide_random_changes(make_table: MakeTable) -> None:
    table = make_table(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), 8)
    images, _ = ChangedImages(table, CHANGES["noise"], seed=0)[:]
    others, _ = ChangedImages(table, CHANGES["noise"], seed=1)[:]
    assert len({image.numpy().tobytes() for image in torch.cat([images, others])}) == 8


def test_record_names_the_change(make_table: MakeTable) -> None:
    table = make_table(random_images(2), 8)
    changed = ChangedImages(table, CHANGES["blur"], seed=0)
    assert changed.record.name == f"{table.record.name}_blur"
    assert changed.record.image_format == table.record.image_format
    assert len(changed) == 2
    assert len(changed.subset(np.array([], dtype=np.int64)).content_hashes) == 0
