"""Batches of a table's images, on the device."""

import os
import signal
from collections.abc import Iterator
from copy import copy
from functools import cached_property
from types import FrameType
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from glow_pipeline.images.rows import Rows, random_order
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.transfer import to_device
from glow_pipeline.shard import Shard

UPLOAD = 4096  # images copied to the device at once
GRACE = 10.0  # seconds that a reading process runs on after a signal


class Batch(NamedTuple):
    """Images of a table, on the device."""

    images: Tensor  # uint8 (B, C, H, W) below 2**n_bits
    labels: Tensor  # int64 (B,)


class RowsOfBatches:
    """The rows of each batch, cut from the order when they are needed.

    Args:
        order: all rows in their order; they may be a range.
        batch_size: of complete batches.
        places: which batches are wanted.
        shard: the part of each batch that is wanted.
    """

    def __init__(self, order: Rows, batch_size: int, places: slice, shard: Shard = Shard()) -> None:  # noqa: B008
        self._order = order
        self._batch_size = batch_size
        self._starts = range(0, len(order), batch_size)[places]
        self._shard = shard

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Rows]:
        for start in self._starts:
            rows = self._order[start : start + self._batch_size]
            yield rows[self._shard.rows(len(rows))]


class Batches:
    """The images of a table in batches, in the table's order or shuffled.

    Args:
        num_workers: processes that read ahead; 0 reads in this one, which is enough for most memory maps.
        drop_last: leave out an incomplete last batch, so that every step has the same number of images.
        on_device: copy the complete table to the device once, and gather the batches there.
        shard: the part of each shuffled batch that this process works on; None for all.
    """

    def __init__(
        self,
        table: ImageTable,
        batch_size: int,
        device: torch.device,
        num_workers: int = 0,
        drop_last: bool = False,
        on_device: bool = False,
        shard: Shard | None = None,
    ) -> None:
        self.table = table
        self.batch_size = batch_size
        self.device = device
        self.num_workers = num_workers
        self.on_device = on_device
        self.shard = shard or Shard()
        self.n_images = len(table) // batch_size * batch_size if drop_last else len(table)
        self._places = slice(None)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(range(-(-self.n_images // self.batch_size))[self._places])

    def __iter__(self) -> Iterator[Batch]:
        return self._batches(RowsOfBatches(range(self.n_images), self.batch_size, self._places))

    def part(self, places: slice) -> Self:
        """Return the batches in these places of the table's order. Both share the images on the device."""
        if self.on_device:
            _ = self._table_on_device  # before the copy, which so has it too
        part = copy(self)
        part._places = places
        return part

    def shuffled(self, generator: torch.Generator, first: int = 0) -> Iterator[Batch]:
        """Return the batches in a random order, as `order` and `in_order` do."""
        return self.in_order(self.order(generator), first)

    def order(self, generator: torch.Generator) -> Rows:
        """Draw the order of the images; with `drop_last` each order leaves out other images."""
        return random_order(len(self.table), generator)[: self.n_images]

    def in_order(self, order: Rows, first: int = 0) -> Iterator[Batch]:
        """Return this shard's part of the batches in a given order.

        Args:
            order: images by their place in the table.
            first: batch to start with; those before it are not read.
        """
        return self._batches(RowsOfBatches(order, self.batch_size, slice(first, None), self.shard))

    def _batches(self, sampler: RowsOfBatches) -> Iterator[Batch]:
        if self.on_device:
            return self._gathered(sampler)
        if self.device.type == "cuda":
            return _copied_ahead(self._read(sampler), self.device)
        return (Batch(images.to(self.device), labels.to(self.device)) for images, labels in self._read(sampler))

    def _gathered(self, sampler: RowsOfBatches) -> Iterator[Batch]:
        # The order is copied to the device once: a copy for each batch would wait for the device.
        chosen = [np.asarray(rows, dtype=np.int64) for rows in sampler]
        order = to_device(torch.from_numpy(np.concatenate(chosen)), self.device) if chosen else torch.empty(0)
        for rows in order.split([len(rows) for rows in chosen]):
            yield Batch(self._table_on_device.images[rows], self._table_on_device.labels[rows])

    @cached_property
    def _table_on_device(self) -> Batch:
        images = torch.empty(
            len(self.table), *self.table.record.image_format.shape, dtype=torch.uint8, device=self.device
        )
        for first in range(0, len(self.table), UPLOAD):
            piece, _ = self.table[first : first + UPLOAD]
            images[first : first + UPLOAD] = to_device(piece, self.device)
        return Batch(images, self.table.labels.to(self.device))

    def _read(self, sampler: RowsOfBatches) -> Iterator[Batch]:
        # The sampler yields the indices of complete batches, and the table gathers each at once:
        # one image at a time is many times slower.
        if self.num_workers == 0:  # without torch's loader, which takes as long as the table for a small batch
            for rows in sampler:
                batch = Batch(*self.table[rows])
                yield Batch(*(tensor.pin_memory() for tensor in batch)) if self.device.type == "cuda" else batch
            return
        loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
            self.table,  # type: ignore[arg-type]  # it has __getitem__ and __len__, which is all that DataLoader uses
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_outlast_signals,
        )
        for images, labels in loader:
            yield Batch(images, labels)


def _outlast_signals(_worker: int) -> None:
    """Keep a reading process alive for GRACE seconds after SIGTERM or Ctrl-C, which all processes receive.

    The training may need a batch to finish its step, and torch raises an error in it when a reader is killed.
    """
    if not hasattr(signal, "setitimer"):  # Windows, which has no such signals either
        return

    def leave_soon(_signum: int, _frame: FrameType | None) -> None:
        left, _ = signal.setitimer(signal.ITIMER_REAL, GRACE)
        if left > 0:  # the second signal
            os._exit(0)

    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, leave_soon)


def _copied_ahead(pinned: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Copy batches from pinned memory to the GPU, during its computations and one batch ahead of the requested one."""
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
    """Return the batch to the present stream, which waits for the copy and keeps the memory while it uses it."""
    present = torch.cuda.current_stream()
    present.wait_event(arrived)
    for tensor in batch:
        tensor.record_stream(present)
    return batch
