import pytest
import torch

from glow_pipeline.images.batches import Batches
from glow_pipeline.images.rows import Rows
from glow_pipeline.randomness import generator
from glow_pipeline.shard import Shard
from glow_pipeline.training.passes import Passes
from tests.conftest import MakeTable, random_images

CPU = torch.device("cpu")


class CountingBatches(Batches):
    """Batches that count the orders which are drawn."""

    drawn = 0

    def order(self, generator: torch.Generator) -> Rows:
        self.drawn += 1
        return super().order(generator)


def test_order_of_a_pass_is_drawn_once(make_table: MakeTable) -> None:
    batches = CountingBatches(make_table(random_images(10), 8), 3, CPU, drop_last=True)
    passes = Passes(batches, seed=0)
    passes.first_batch(complete=True)
    passes.first_batch()
    assert len([*passes.batches(0, 2), *passes.batches(2, 3)]) == 3
    assert batches.drawn == 1
    assert len(list(passes.batches(3, 7))) == 4
    assert batches.drawn == 3


@pytest.mark.parametrize("start", [0, 2, 4])
def test_steps_take_the_passes_in_order(make_table: MakeTable, start: int) -> None:
    table = make_table(random_images(10), 8)
    batches = Batches(table, 3, CPU, drop_last=True)
    orders = [torch.randperm(10, generator=generator(7, "shuffle", number))[:9] for number in (1, 2)]
    expected = table[torch.cat(orders).numpy()][0].split(3)
    got = [batch.images for batch in Passes(batches, seed=7).batches(start, 6)]
    assert all(torch.equal(one, other) for one, other in zip(got, expected[start:], strict=True))


def test_first_batch_is_the_shard_or_complete(make_table: MakeTable) -> None:
    table, shard = make_table(random_images(10), 8), Shard(1, 2)
    passes = Passes(Batches(table, 4, CPU, shard=shard), seed=0)
    rows = torch.randperm(10, generator=generator(0, "shuffle", 1))[:4].numpy()
    assert torch.equal(passes.first_batch().images, table[rows[2:]][0])
    assert torch.equal(passes.first_batch(complete=True).images, table[rows][0])
