"""Batches from a table to the device."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from glow_pipeline.images.table import ImageTable


class Batch(NamedTuple):
    """Some images of a table, on the device."""

    images: Tensor  # uint8 (B, C, H, W) below 2**n_bits
    labels: Tensor  # int64 (B,)


class Batches:
    """The images of a table in batches, in the table's order or shuffled.

    Args:
        num_workers: processes that read ahead; 0 reads in this one, which a memory map rarely needs more than.
        drop_last: leave an incomplete last batch out, so that every step weighs its images alike.
    """

    def __init__(
        self,
        table: ImageTable,
        batch_size: int,
        device: torch.device,
        num_workers: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.table = table
        self.batch_size = batch_size
        self.device = device
        self.num_workers = num_workers
        self.n_images = len(table) // batch_size * batch_size if drop_last else len(table)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.n_images // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self._batches(np.arange(self.n_images))

    def shuffled(self, generator: torch.Generator) -> Iterator[Batch]:
        """The same in a random order, so that another order leaves other images out of the batches."""
        return self._batches(torch.randperm(len(self.table), generator=generator).numpy()[: self.n_images])

    def _batches(self, order: NDArray[np.int64]) -> Iterator[Batch]:
        # The sampler yields whole batches of indices, and the table gathers each at once:
        # item by item is many times slower.
        sampler = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
            self.table,  # type: ignore[arg-type]  # it has __getitem__ and __len__, all that is asked of it
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )
        for images, labels in loader:
            yield Batch(images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True))
