"""Batches from a table to the device."""

import os
import signal
from collections.abc import Iterator
from functools import cached_property
from types import FrameType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from glow_pipeline.images.table import ImageTable
from glow_pipeline.shard import Shard

UPLOAD = 4096  # images copied to the device at once
GRACE = 10.0  # seconds that a reading process lives on


class Batch(NamedTuple):
    """Some images of a table, on the device."""

    images: Tensor  # uint8 (B, C, H, W) below 2**n_bits
    labels: Tensor  # int64 (B,)


class Batches:
    """The images of a table in batches, in the table's order or shuffled.

    Args:
        num_workers: processes that read ahead; 0 reads in this one, which a memory map rarely needs more than.
        drop_last: leave an incomplete last batch out, so that every step weighs its images alike.
        on_device: bring the whole table to the device once, and gather the batches there.
        share: of a shuffled batch, these rows alone, for one of several processes.
    """

    def __init__(
        self,
        table: ImageTable,
        batch_size: int,
        device: torch.device,
        num_workers: int = 0,
        drop_last: bool = False,
        on_device: bool = False,
        share: Shard | None = None,
    ) -> None:
        self.table = table
        self.batch_size = batch_size
        self.device = device
        self.num_workers = num_workers
        self.on_device = on_device
        self.share = share or Shard()
        self.n_images = len(table) // batch_size * batch_size if drop_last else len(table)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.n_images // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self._batches(self._in_batches(np.arange(self.n_images)))

    def shuffled(self, generator: torch.Generator, first: int = 0) -> Iterator[Batch]:
        """The same in a random order, so that another order leaves other images out of the batches.

        Args:
            generator: draws the order.
            first: leave out so many batches before it; they are not read.
        """
        order = torch.randperm(len(self.table), generator=generator).numpy()[: self.n_images]
        return self._batches([rows[self.share.rows(len(rows))] for rows in self._in_batches(order)[first:]])

    def _in_batches(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def _batches(self, sampler: list[NDArray[np.int64]]) -> Iterator[Batch]:
        if self.on_device:
            return self._gathered(sampler)
        if self.device.type == "cuda":
            return _copied_ahead(self._read(sampler), self.device)
        return (Batch(images.to(self.device), labels.to(self.device)) for images, labels in self._read(sampler))

    def _gathered(self, sampler: list[NDArray[np.int64]]) -> Iterator[Batch]:
        # The order goes to the device once: a copy for each batch would wait for the device.
        order = torch.from_numpy(np.concatenate(sampler)).to(self.device) if sampler else torch.empty(0)
        for rows in order.split([len(rows) for rows in sampler]):
            yield Batch(self._table_on_device.images[rows], self._table_on_device.labels[rows])

    @cached_property
    def _table_on_device(self) -> Batch:
        images = torch.empty(
            len(self.table), *self.table.record.image_format.shape, dtype=torch.uint8, device=self.device
        )
        for first in range(0, len(self.table), UPLOAD):
            piece, _ = self.table[first : first + UPLOAD]
            images[first : first + UPLOAD] = piece.to(self.device)
        return Batch(images, self.table.labels.to(self.device))

    def _read(self, sampler: list[NDArray[np.int64]]) -> Iterator[Batch]:
        # The sampler yields whole batches of indices, and the table gathers each at once:
        # item by item is many times slower.
        loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
            self.table,  # type: ignore[arg-type]  # it has __getitem__ and __len__, all that is asked of it
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_outlast_signals,
        )
        for images, labels in loader:
            yield Batch(images, labels)


def _outlast_signals(_worker: int) -> None:
    """Let a reading process live on a little after SIGTERM or Ctrl-C, which come to all processes at once.

    The training may wait for a batch to finish its step, and torch makes an error in it of a reader that is killed.
    """
    if not hasattr(signal, "setitimer"):  # Windows, which has no such signals either
        return

    def leave_soon(_signum: int, _frame: FrameType | None) -> None:
        left, _ = signal.setitimer(signal.ITIMER_REAL, GRACE)
        if left > 0:  # the second one
            os._exit(0)

    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, leave_soon)


def _copied_ahead(pinned: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches in pinned memory -> on the GPU, copied beside its computations, always one ahead of what is asked for."""
    copying = torch.cuda.Stream(device)
    ahead: tuple[Batch, torch.cuda.Event] | None = None
    for host in pinned:
        with torch.cuda.stream(copying):
            batch = Batch(*(tensor.to(device, non_blocking=True) for tensor in host))
            arrived = copying.record_event()
        if ahead is not None:
            yield _received(*ahead)
        ahead = batch, arrived
    if ahead is not None:
        yield _received(*ahead)


def _received(batch: Batch, arrived: torch.cuda.Event) -> Batch:
    """The batch for the present stream, which waits for the copy; its memory is not given away while that uses it."""
    present = torch.cuda.current_stream()
    present.wait_event(arrived)
    for tensor in batch:
        tensor.record_stream(present)
    return batch
