"""Scores of tables in parts: ranges of rows that are scored on their own, and stored until all are there."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from glow_pipeline.density import scoring_threads
from glow_pipeline.device import use_device
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import memory_in_one_line, size_of
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.scored_images import ScoredImages
from glow_pipeline.outliers.scores.score import Numbers, Score
from glow_pipeline.outliers.scoring import scored_batches
from glow_pipeline.stores import Store
from glow_pipeline.threads import is_small, usable_cores
from glow_pipeline.workers.fingerprint import Fingerprint
from glow_pipeline.workers.part_work import Seat

CPU_MINUTE = 10**12  # multiplications that one thread of a CPU does in about a minute
MOST_IMAGES = 2**16  # of a part; a GPU takes some 10 s for so many images of 32x32
ENOUGH_PARTS = 64  # of a table, so that those who share it finish at about the same time
SHORTEST_PART = 16  # in so many of a minute


@dataclass(frozen=True)
class Scorer:
    """The model and the scores of a scoring. It is sent to other processes, which have their own devices.

    Attributes:
        flow: the model.
        scores: those to compute, fitted where they have to be.
        other_models: the models that some scores compare it with.
        seed: of the dequantization noise.
        draws: of the noise, over which the numbers that describe an image are averaged.
        batch_size: images at once.
        device: its type: `cuda`, `cpu`, ...
        threads: of a CPU, in each process; None: chosen by a measurement, or the cores are shared by the processes.
    """

    flow: Glow
    scores: Sequence[Score]
    other_models: OtherModels
    seed: int
    draws: int
    batch_size: int
    device: str
    threads: int | None = None

    @contextmanager
    def scoring(
        self, images: ImageTable, seat: Seat, description: str | None = None
    ) -> Iterator[Iterator[dict[str, Numbers]]]:
        """Yield the scores of each batch of the images in turn, (B,) by the score's column.

        Args:
            images: the images, from the start of a batch on.
            seat: of this process.
            description: beside a progress bar; None: no bar.

        Raises:
            NotEnoughMemoryError: an allocation in the block failed.
            GlowPipelineError: a score returned something other than numbers for each image.
        """
        device = self._device(seat)
        flow = self.flow.to(device)
        batches = Batches(images, self.batch_size, device)
        with ExitStack() as stack:
            stack.enter_context(memory_in_one_line(f"ood.batch_size={self.batch_size}", "lower it"))
            if len(images):
                stack.enter_context(scoring_threads(flow, batches, self._threads(seat)))
            others = stack.enter_context(self.other_models.on(device))
            scores = [score.with_models(others) for score in self.scores]
            scored = scored_batches(flow, batches, scores, self.seed, self.draws, description)
            yield stack.enter_context(closing(scored))

    def joined(self, batches: Sequence[Mapping[str, Numbers]]) -> dict[str, Numbers]:
        """Return the scores of some batches, float64 (n,) by the score's column."""
        columns = [score.column for score in self.scores]
        return {name: np.concatenate([np.empty(0), *(batch[name] for batch in batches)]) for name in columns}

    @property
    def images_in_a_minute(self) -> int:
        """About how many images one process scores in a minute on a CPU; 65,536 at most, and on a GPU."""
        if self.device != "cpu":
            return MOST_IMAGES
        size = size_of(self.flow)
        hidden = size.hidden_channels
        multiplications = sum(
            size.K * pixels * hidden * (9 * channels // 2 + hidden + 9 * channels) for channels, pixels in size.levels()
        )
        return max(1, min(MOST_IMAGES, CPU_MINUTE // (multiplications * self.draws)))

    def __getstate__(self) -> bytes:
        """Return a plain pickle, with the models on the CPU.

        Where a process is started, torch would put the weights in shared memory, of which a container has 64 MB.
        """
        for model in filter(None, (self.flow, self.other_models.background, *self.other_models.ensemble)):
            model.cpu()
        return pickle.dumps(self.__dict__)

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(pickle.loads(state))

    def _threads(self, seat: Seat) -> int | None:
        """Return the number of threads of this process, if it is not to be chosen by a measurement."""
        if self.threads is not None or seat.of == 1:
            return self.threads
        _, height, width = self.flow.image_shape
        return 1 if is_small(self.batch_size * height * width) else max(1, usable_cores() // seat.of)

    def _device(self, seat: Seat) -> torch.device:
        device = use_device(self.device)
        if device.type == "cuda" and seat.of > 1:
            device = torch.device("cuda", seat.index)
            torch.cuda.set_device(device)
        return device


class Part(NamedTuple):
    """A range of a table's rows."""

    table: int  # its number in the work
    first: int
    end: int

    @property
    def rows(self) -> range:
        return range(self.first, self.end)

    @property
    def file(self) -> str:
        """Return the name of its file: with the range, since another command may have cut the table elsewhere."""
        return f"{self.first:012d}-{self.end:012d}.parquet"


@dataclass(frozen=True)
class ScoreParts:
    """The scores of some tables: a `PartWork`.

    Parts begin at multiples of the batch size, so that each batch has the images that it has in a pass over the whole
    table: the scores are the same bits, however the table is cut and whoever scores its parts.

    Attributes:
        scorer: computes the scores.
        tables: the images; a table may be empty.
        stores: one for each table, of its scores by everything that they depend on.
        part_images: images of a part; None: what a CPU scores in a minute, and at most 65,536.
        fingerprint: what the scores of all tables depend on.
    """

    scorer: Scorer
    tables: Sequence[ImageTable]
    stores: Sequence[Store]
    part_images: int | None
    fingerprint: Fingerprint

    @property
    def title(self) -> str:
        return f"score {' and '.join(table.record.name for table in self.tables)}"

    @property
    def uses_gpu(self) -> bool:
        """Return whether a process needs a GPU of its own."""
        return self.scorer.device == "cuda"

    @property
    def is_small(self) -> bool:
        """Return whether to score all without storing parts: they would be a single one."""
        return sum(map(len, self.tables)) <= (self.part_images or self.scorer.images_in_a_minute)

    @property
    def sizes(self) -> list[int]:
        return [len(part.rows) for part in self.parts]

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of all tables, in order; an empty table has one."""
        return [
            Part(number, first, min(first + size, len(table)))
            for number, table in enumerate(self.tables)
            for size in [self._images_of_part(len(table))]
            for first in range(0, max(1, len(table)), size)
        ]

    def missing(self) -> list[int]:
        stored = [store.names() for store in self.stores]
        return [number for number, part in enumerate(self.parts) if part.file not in stored[part.table]]

    def run(self, parts: Sequence[int], seat: Seat) -> Iterator[int]:
        for stretch in _stretches([self.parts[number] for number in parts]):
            yield from self._run(stretch, seat)

    def scored(self) -> list[ScoredImages]:
        """Return the scores of each table, of which all parts are stored."""
        columns = [score.column for score in self.scorer.scores]
        return [
            ScoredImages(table, columns, *_files(store, [part for part in self.parts if part.table == number]))
            for number, (table, store) in enumerate(zip(self.tables, self.stores, strict=True))
        ]

    def _run(self, stretch: Sequence[Part], seat: Seat) -> Iterator[int]:
        """Score parts that follow each other in one table in one pass, and store each when it is complete."""
        table = self.tables[stretch[0].table]
        images = table.subset(range(stretch[0].first, stretch[-1].end))
        with self.scorer.scoring(images, seat) as batches:
            for part in stretch:
                scored: list[dict[str, Numbers]] = []
                remaining = len(part.rows)
                while remaining:
                    scored.append(next(batches))
                    n = len(next(iter(scored[-1].values())))
                    remaining -= n
                    yield n
                self._store(part, self.scorer.joined(scored))

    def _store(self, part: Part, values: Mapping[str, Numbers]) -> None:
        import pyarrow as pa  # imported here since small sets do not need it
        from pyarrow.parquet import write_table

        with TemporaryDirectory(prefix="scores_") as folder:
            written = Path(folder) / part.file
            write_table(pa.table(values), written, write_page_checksum=True)
            self.stores[part.table].put(part.file, written)

    def _images_of_part(self, n: int) -> int:
        batch, minute = self.scorer.batch_size, self.scorer.images_in_a_minute
        most = self.part_images or min(minute, max(n // ENOUGH_PARTS, minute // SHORTEST_PART))
        return max(1, most // batch) * batch


def _files(store: Store, parts: Sequence[Part]) -> tuple[dict[range, Path], TemporaryDirectory[str] | None]:
    """Return the files of parts by their rows, and the temporary folder that they are in if the store is no folder."""
    if store.folder is not None:
        return {part.rows: store.folder / part.file for part in parts}, None
    copies = TemporaryDirectory(prefix="scores_")
    for part in parts:
        store.fetch(part.file, Path(copies.name) / part.file)
    return {part.rows: Path(copies.name) / part.file for part in parts}, copies


def _stretches(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield the longest runs of parts that follow each other in one table."""
    stretch: list[Part] = []
    for part in parts:
        if stretch and (part.table, part.first) != (stretch[-1].table, stretch[-1].end):
            yield stretch
            stretch = []
        stretch.append(part)
    if stretch:
        yield stretch
