"""Decoding and preparation of many images, in as many processes as there are cores.

Decoding takes most of an ingest. Each process also prepares its images, so that only small arrays are sent back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.images.decoding import MAX_PIXELS, UnreadableImageError, decode_file
from glow_pipeline.images.file_formats import FileFormat
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.rows import Rows, as_array
from glow_pipeline.images.sources.source import Reader
from glow_pipeline.threads import usable_cores

# Work of a process at a time: enough to outweigh the transfer, little enough for small shared memory.
CHUNK_IMAGES = 64
CHUNK_BYTES = 2**21
# For fewer images the start of a process costs more than it saves.
WORTH_A_PROCESS = 256
Result = TypeVar("Result")


class Prepared(NamedTuple):
    """Images in the format of a table, and the files that could not be read."""

    rows: NDArray[np.int64]  # (n,) positions in the split, without unreadable images
    images: Tensor  # uint8 (n, C, H, W)
    unreadable: dict[str, str]  # name -> reason
    findings: Findings | None = None  # in files that were decoded
    formats: Sequence[FileFormat] = ()  # n, of these files
    file_findings: Sequence[Findings] = ()  # n, in each of them


class _Decoder(Dataset[Prepared]):
    """The work of a decoding process."""

    def __init__(self, reader: Reader, image_format: ImageFormat, max_pixels: int) -> None:
        self.reader = reader
        self.image_format = image_format
        self.max_pixels = max_pixels

    def __getitem__(self, rows: NDArray[np.int64]) -> Prepared:
        images, kept, formats, file_findings, unreadable, findings = [], [], [], [], {}, Findings()
        for row in rows:
            found = Findings()
            try:
                decoded, file_format = decode_file(
                    self.reader(int(row)),
                    grey_range=self.image_format.range,
                    background=self.image_format.background,
                    max_pixels=self.max_pixels,
                    findings=found,
                )
                images.append(prepare(decoded[None], self.image_format))
                kept.append(row)
                formats.append(file_format)
                file_findings.append(found)
            except UnreadableImageError as problem:
                unreadable[self.reader.name(int(row))] = str(problem)
            findings.add(found)
        stacked = torch.cat(images) if images else torch.empty(0, *self.image_format.shape, dtype=torch.uint8)
        return Prepared(np.array(kept, dtype=np.int64), stacked, unreadable, findings, formats, file_findings)


def decode_and_prepare(
    reader: Reader,
    rows: NDArray[np.int64],
    image_format: ImageFormat,
    num_workers: int | None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Prepared]:
    """Decode these rows in order, in several processes, and prepare them for the format.

    Args:
        num_workers: processes; 0 decodes in this one, None takes one for each core.
        max_pixels: larger images are unreadable.

    Raises:
        GlowPipelineError: a process died, as it does when memory runs out.
    """
    for _, prepared in decode_parts(reader, [rows], image_format, num_workers, max_pixels):
        yield prepared


def decode_parts(
    reader: Reader,
    parts: Sequence[Rows],
    image_format: ImageFormat,
    num_workers: int | None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[tuple[int, Prepared]]:
    """Decode and prepare the rows of several parts in one pass, each with the position of its part.

    Args:
        parts: rows of each part; the others are as in `decode_and_prepare`.

    Raises:
        GlowPipelineError: a process died, as it does when memory runs out.
    """
    size = min(CHUNK_IMAGES, max(1, CHUNK_BYTES // int(np.prod(image_format.shape))))
    chunks = _Chunks(parts, size)
    results = _map_chunks(
        _Decoder(reader, image_format, max_pixels), chunks, num_workers, fork=not getattr(reader, "in_bucket", False)
    )
    yield from zip(chunks.positions(), results, strict=True)


def map_in_processes(
    work: Dataset[Result], rows: NDArray[np.int64], at_once: int, num_workers: int | None
) -> Iterator[Result]:
    """Process rows in several processes and yield the results in order.

    Args:
        work: its items are the results, indexed by chunks of rows; it is sent to other processes, so it must pickle.
        at_once: rows in a chunk.
        num_workers: as in `decode_and_prepare`.

    Raises:
        GlowPipelineError: a process died, as it does when memory runs out, or object storage does not answer.
    """
    yield from _map_chunks(work, _Chunks([rows], at_once), num_workers)


@dataclass(frozen=True)
class _Chunks:
    """The rows of some parts in chunks, none of which has rows of two parts; made when they are needed."""

    parts: Sequence[Rows]
    at_once: int

    @property
    def n_rows(self) -> int:
        return sum(map(len, self.parts))

    def positions(self) -> Iterator[int]:
        """Yield the position of each chunk's part."""
        for position, rows in enumerate(self.parts):
            yield from repeat(position, -(-len(rows) // self.at_once))

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        for rows in self.parts:
            for start in range(0, len(rows), self.at_once):
                yield as_array(rows[start : start + self.at_once])


def _map_chunks(
    work: Dataset[Result], chunks: _Chunks, num_workers: int | None, *, fork: bool = True
) -> Iterator[Result]:
    """Process chunks as `map_in_processes`; without `fork` in new processes: connections do not survive one."""
    if num_workers is None:
        num_workers = usable_cores()
    in_processes = num_workers if chunks.n_rows >= WORTH_A_PROCESS else 0
    loader: DataLoader[Result] = DataLoader(
        work,
        batch_size=None,
        sampler=chunks,
        num_workers=in_processes,
        multiprocessing_context=None if fork or not in_processes else "spawn",
        collate_fn=_unchanged,  # there is no list of items to collate
    )
    try:
        yield from _checked_at_each_result(iter(loader))
    except GlowPipelineError as problem:  # torch puts the traceback of another process before its line
        raise GlowPipelineError(str(problem).rpartition(f"{GlowPipelineError.__name__}: ")[2].strip()) from None
    except (RuntimeError, EOFError, OSError) as problem:
        if loader.num_workers == 0 or not _is_of_a_death(problem):
            raise
        raise GlowPipelineError(
            f"ingest.num_workers={num_workers}: a decoding process died ({first_line(problem)}); "
            f"if memory ran out, lower it"
        ) from problem


def _checked_at_each_result(results: Iterator[Result]) -> Iterator[Result]:
    """Have a dead process raise an error where its result is waited for.

    By itself torch raises it from a handler of SIGCHLD, and so in whatever code runs at that moment, where nobody
    expects it.
    """
    if getattr(results, "_worker_pids_set", False):
        torch._C._remove_worker_pids(id(results))
        results._worker_pids_set = False  # type: ignore[attr-defined]  # so that it is not done again at the end
    return results


def _is_of_a_death(problem: Exception) -> bool:
    """Return whether a process died: seen by torch, or by the lost connection through which its result is fetched.

    A process that is killed closes its connections a moment before it counts as dead. An error of the work itself,
    which torch raises again here, says that it was caught.
    """
    if isinstance(problem, RuntimeError):
        return str(problem).startswith("DataLoader worker")
    return isinstance(problem, EOFError | ConnectionError | FileNotFoundError) and "Caught" not in str(problem)


def _unchanged(result: Result) -> Result:
    return result
