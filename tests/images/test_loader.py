import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.images.loader import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import generator
from tests.conftest import MakeTable, random_images

CPU = torch.device("cpu")
IMAGES = random_images(23, 1, (2, 2))


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(IMAGES, 8)


def rows_of(images: Tensor) -> list[int]:
    """Which rows of IMAGES these are."""
    return [int((image == IMAGES).flatten(1).all(dim=1).nonzero().item()) for image in images]


def shuffled_rows(batches: Batches, epoch: int) -> list[int]:
    return rows_of(torch.cat([batch.images for batch in batches.shuffled(generator(0, "shuffle", epoch))]))


def test_batches_are_in_the_order_of_the_table(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU)
    got = list(batches)
    assert len(batches) == len(got) == 5
    assert [len(batch.images) for batch in got] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat([batch.images for batch in got]), IMAGES)
    assert torch.equal(torch.cat([batch.labels for batch in got]), torch.arange(23) % 3)


def test_batches_can_be_gone_through_again(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU)
    first, second = list(batches), list(batches)
    assert len(first) == len(second) == 5
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("n", "batch_size", "drop_last", "sizes"), [
    (23, 5, True, [5, 5, 5, 5]),
    (20, 5, True, [5, 5, 5, 5]),
    (20, 5, False, [5, 5, 5, 5]),
    (3, 5, False, [3]),
    (3, 5, True, []),
    (23, 23, True, [23]),
])  # fmt: skip
def test_the_number_of_batches_and_their_sizes(
    table: ImageTable, n: int, batch_size: int, drop_last: bool, sizes: list[int]
) -> None:
    batches = Batches(table.subset(np.arange(n)), batch_size, CPU, drop_last=drop_last)
    assert len(batches) == len(sizes)
    assert [len(batch.images) for batch in batches] == sizes
    assert [len(batch.images) for batch in batches.shuffled(generator(0, "shuffle"))] == sizes


def test_shuffled_gives_every_image_exactly_once_with_its_label(table: ImageTable) -> None:
    got = list(Batches(table, 5, CPU).shuffled(generator(0, "shuffle")))
    rows = rows_of(torch.cat([batch.images for batch in got]))
    assert sorted(rows) == list(range(23))
    assert rows != list(range(23))
    assert torch.cat([batch.labels for batch in got]).tolist() == [row % 3 for row in rows]


def test_the_order_of_shuffled_is_that_of_its_generator(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU)
    orders = [shuffled_rows(batches, epoch) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    torch.manual_seed(1)
    assert shuffled_rows(batches, 2) == orders[2]


def test_drop_last_leaves_other_images_out_each_epoch(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU, drop_last=True)
    seen = [set(shuffled_rows(batches, epoch)) for epoch in range(4)]
    assert all(len(rows) == 20 for rows in seen)
    assert set.union(*seen) == set(range(23))


def test_batches_of_a_subset_are_of_the_subset(table: ImageTable) -> None:
    batches = Batches(table.subset(np.array([9, 4, 11])), 2, CPU)
    assert [rows_of(batch.images) for batch in batches] == [[9, 4], [11]]


def test_worker_processes_give_the_same_batches(table: ImageTable) -> None:
    here = list(Batches(table, 5, CPU).shuffled(generator(0, "shuffle")))
    there = list(Batches(table, 5, CPU, num_workers=1).shuffled(generator(0, "shuffle")))
    assert len(here) == len(there) == 5
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
