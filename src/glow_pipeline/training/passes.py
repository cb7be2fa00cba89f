"""The order in which a training takes its images: another one in each pass."""

from collections.abc import Iterator
from itertools import islice

from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.images.rows import Rows
from glow_pipeline.randomness import generator


class Passes:
    """Passes over the training images, each in the order that the seed draws for it.

    An order takes 4 bytes an image: one is in memory at a time, and each is drawn once.

    Args:
        batches: training batches.
        seed: seed of all random draws.
    """

    def __init__(self, batches: Batches, seed: int) -> None:
        self._batches, self._seed = batches, seed
        self._drawn: tuple[int, Rows] | None = None  # the number of a pass, and its order
        self._rest: Iterator[Batch] | None = None  # of the present pass; an epoch may end within it

    def first_batch(self, *, complete: bool = False) -> Batch:
        """Return the first batch of the training: this process's shard of it, or the complete one."""
        batches = self._batches
        if complete:
            batches = Batches(batches.table, batches.batch_size, batches.device)
        return next(batches.in_order(self._order(0)[: batches.batch_size]))

    def batches(self, step: int, end: int) -> Iterator[Batch]:
        """Yield the batches of the steps from one on up to another, both counted from 0."""
        n = len(self._batches)
        while step < end:
            number, first = divmod(step, n)
            if self._rest is None:
                self._rest = self._batches.in_order(self._order(number), first)
            left = min(n - first, end - step)
            yield from islice(self._rest, left)
            step += left
            if step % n == 0:
                self._rest = None

    def close(self) -> None:
        """End what reads ahead, and forget the order."""
        self._rest = self._drawn = None

    def _order(self, number: int) -> Rows:
        """Return the order of a pass, counted from 0."""
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = None  # before the next one is drawn
            self._drawn = number, self._batches.order(generator(self._seed, "shuffle", number + 1))
        return self._drawn[1]
