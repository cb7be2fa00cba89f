from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.images import batches as batches_module
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import generator
from glow_pipeline.shard import Shard
from tests.conftest import MakeTable, random_images

CPU = torch.device("cpu")
IMAGES = random_images(23, 1, (2, 2))


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(IMAGES, 8)


def rows_of(images: Tensor) -> list[int]:
    """Return the rows of these images in IMAGES."""
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


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(("places", "rows"), [
    (slice(0, 2), range(10)), (slice(3, 5), range(15, 23)), (slice(5, 5), range(0)), (slice(None), range(23)),
])  # fmt: skip
def test_part_has_the_batches_in_its_places(table: ImageTable, places: slice, rows: range, on_device: bool) -> None:
    part = Batches(table, 5, CPU, on_device=on_device).part(places)
    got = list(part)
    assert len(part) == len(got)
    assert [row for batch in got for row in rows_of(batch.images)] == list(rows)


def test_parts_share_the_images_on_the_device(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU, on_device=True)
    parts = [batches.part(slice(0, 1)), batches.part(slice(1, 2))]
    assert parts[0]._table_on_device is parts[1]._table_on_device is batches._table_on_device


def test_shuffled_yields_every_image_once(table: ImageTable) -> None:
    got = list(Batches(table, 5, CPU).shuffled(generator(0, "shuffle")))
    rows = rows_of(torch.cat([batch.images for batch in got]))
    assert sorted(rows) == list(range(23))
    assert rows != list(range(23))
    assert torch.cat([batch.labels for batch in got]).tolist() == [row % 3 for row in rows]


def test_shuffled_order_depends_on_the_generator(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU)
    orders = [shuffled_rows(batches, epoch) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    torch.manual_seed(1)
    assert shuffled_rows(batches, 2) == orders[2]


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("shard", [Shard(), Shard(1, 3)])
@pytest.mark.parametrize("first", [0, 2, 4, 9])
def test_shuffled_order_is_that_of_earlier_versions(
    table: ImageTable, first: int, shard: Shard, on_device: bool
) -> None:
    """A training that one version has started is resumed by another, with the batches that are left."""
    order = torch.randperm(23, generator=generator(0, "shuffle", 7)).tolist()
    batches = [order[start : start + 5] for start in range(0, 23, 5)][first:]
    got = Batches(table, 5, CPU, on_device=on_device, shard=shard).shuffled(generator(0, "shuffle", 7), first)
    assert [rows_of(batch.images) for batch in got] == [rows[shard.rows(len(rows))] for rows in batches]


def test_drop_last_leaves_other_images_out_each_epoch(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU, drop_last=True)
    seen = [set(shuffled_rows(batches, epoch)) for epoch in range(4)]
    assert all(len(rows) == 20 for rows in seen)
    assert set.union(*seen) == set(range(23))


def test_batches_of_a_subset_are_of_the_subset(table: ImageTable) -> None:
    batches = Batches(table.subset(np.array([9, 4, 11])), 2, CPU)
    assert [rows_of(batch.images) for batch in batches] == [[9, 4], [11]]


def test_worker_processes_give_the_same_batches(table: ImageTable) -> None:
    own = list(Batches(table, 5, CPU).shuffled(generator(0, "shuffle")))
    of_worker = list(Batches(table, 5, CPU, num_workers=1).shuffled(generator(0, "shuffle")))
    assert len(own) == len(of_worker) == 5
    for a, b in zip(own, of_worker, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


# On the device --------------------------------------------------------------------------------


def assert_same_batches(some: Iterator[Batch], others: Iterator[Batch]) -> None:
    pairs = list(zip(some, others, strict=True))
    assert pairs
    for a, b in pairs:
        assert (a.images.dtype, a.labels.dtype) == (b.images.dtype, b.labels.dtype) == (torch.uint8, torch.int64)
        assert torch.equal(a.images.cpu(), b.images.cpu())
        assert torch.equal(a.labels.cpu(), b.labels.cpu())


@pytest.mark.parametrize("upload", [4, 23, 4096])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("rows", [None, [9, 4, 11, 0, 22, 22, 7]], ids=["table", "subset"])
def test_table_on_device_yields_the_same_batches(
    table: ImageTable, monkeypatch: pytest.MonkeyPatch, rows: list[int] | None, drop_last: bool, upload: int
) -> None:
    monkeypatch.setattr(batches_module, "UPLOAD", upload)
    images = table if rows is None else table.subset(np.array(rows))
    read = Batches(images, 5, CPU, drop_last=drop_last)
    kept = Batches(images, 5, CPU, drop_last=drop_last, on_device=True)
    assert len(kept) == len(read)
    assert_same_batches(iter(kept), iter(read))
    for epoch in range(2):
        orders = [generator(0, "shuffle", epoch) for _ in range(2)]
        assert_same_batches(kept.shuffled(orders[0]), read.shuffled(orders[1]))


def test_a_table_on_the_device_is_read_once(table: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = ImageTable.__getitem__

    def counting(self: ImageTable, indices: Any) -> tuple[Tensor, Tensor]:
        images, labels = original(self, indices)
        read.append(len(images))
        return images, labels

    monkeypatch.setattr(ImageTable, "__getitem__", counting)
    monkeypatch.setattr(batches_module, "UPLOAD", 10)
    batches = Batches(table, 5, CPU, on_device=True)
    assert read == []
    for epoch in range(3):
        assert sorted(shuffled_rows(batches, epoch)) == list(range(23))
    assert len(list(batches)) == 5
    assert read == [10, 10, 3]


def test_batches_from_the_device_are_copies(table: ImageTable) -> None:
    batches = Batches(table, 5, CPU, on_device=True)
    next(iter(batches)).images.zero_()
    assert torch.equal(next(iter(batches)).images, IMAGES[:5])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("on_device", [True, False])
def test_a_gpu_is_given_the_same_batches(table: ImageTable, on_device: bool, num_workers: int) -> None:
    gpu = torch.device("cuda")
    on_gpu = Batches(table, 5, gpu, num_workers, on_device=on_device)
    assert {batch.images.device.type for batch in on_gpu} == {batch.labels.device.type for batch in on_gpu} == {"cuda"}
    on_cpu = Batches(table, 5, CPU)
    assert_same_batches(iter(on_gpu), iter(on_cpu))
    for epoch in range(2):
        orders = [generator(0, "shuffle", epoch) for _ in range(2)]
        assert_same_batches(on_gpu.shuffled(orders[0]), on_cpu.shuffled(orders[1]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_gpu_batch_stays_unchanged_during_copies(make_table: MakeTable) -> None:
    images = random_images(512, 1, (32, 32))
    batches = Batches(make_table(images, 8), 32, torch.device("cuda"))
    kept = [batch.images.clone() + 0 for batch in batches]  # used and released during the copies
    assert torch.equal(torch.cat(kept).cpu(), images)
