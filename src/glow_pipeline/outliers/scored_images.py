"""The scores of a table's images, as rows: those that are in memory, and those that are stored in parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.score_table import ScoreTable
from glow_pipeline.outliers.scores.registry import UNREADABLE
from glow_pipeline.outliers.scores.score import Numbers

SOURCE, SPLIT, INDEX, FILE, LABEL = "source", "split", "index", "file", "label"
UNREADABLE_AT_ONCE = 100_000


class ScoredImages(ScoreTable):
    """One row an image, and after them one a file that could not be read, without a score and with the reason.

    The columns are the image's set, its file if it has one of its own, its label, and each score.

    Args:
        images: the images.
        scores: the columns of the scores.
        parts: files with the scores of ranges of the images, in order; together they have all.
        copies: temporary folder with these files, which is there as long as this object; None: they are elsewhere.
    """

    def __init__(
        self,
        images: ImageTable,
        scores: Sequence[str],
        parts: Mapping[range, Path],
        copies: TemporaryDirectory[str] | None = None,
    ) -> None:
        self._images, self._scores, self._parts, self._copies = images, list(scores), parts, copies

    @property
    def columns(self) -> list[str]:
        return [SOURCE, SPLIT, INDEX, FILE, LABEL, *self._scores, UNREADABLE]

    def __len__(self) -> int:
        return len(self._images) + self._images.record.n_unreadable

    def _pieces(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        scores = [name for name in self._scores if name in columns]
        for rows, file in self._parts.items():
            values: pd.DataFrame | dict[str, Numbers] = _stored(file, scores) if scores else {}
            yield _rows(self._images, rows, values, columns)
        yield from _unreadable_rows(self._images, columns)


def _stored(file: Path, scores: list[str]) -> pd.DataFrame:
    """Return these scores of a part.

    Raises:
        GlowPipelineError: the file is damaged.
    """
    import pyarrow as pa  # imported here since small sets do not need it
    from pyarrow.parquet import read_table

    try:
        return read_table(file, columns=scores, page_checksum_verification=True).to_pandas()
    except (OSError, pa.ArrowException) as problem:
        raise GlowPipelineError(
            f"{file}: these stored scores cannot be read ({first_line(problem)}); delete the file of this name among "
            f"the stored scores (ood_progress or benchmark in data/), and type the same command again"
        ) from problem


def scores_in_memory(images: ImageTable, values: Mapping[str, Numbers]) -> pd.DataFrame:
    """Return the rows of `ScoredImages` of images with these scores, (n,) by column."""
    columns = ScoredImages(images, list(values), {}).columns
    pieces = [_rows(images, range(len(images)), values, columns), *_unreadable_rows(images, columns)]
    return pieces[0] if len(pieces) == 1 else pd.concat(pieces, ignore_index=True)


def _rows(
    images: ImageTable, places: range, values: Mapping[str, Numbers] | pd.DataFrame, columns: Sequence[str]
) -> pd.DataFrame:
    """Return these columns of the rows of the images in these places, which have these scores."""
    record, some = images.record, cache(lambda: images.subset(places))
    made: dict[str, Callable[[], Any]] = {
        SOURCE: lambda: record.name,
        SPLIT: lambda: record.split,
        INDEX: lambda: pd.array(images.rows_at(places), dtype="Int64"),  # in the table, whatever was left out of it
        FILE: lambda: some().names,
        LABEL: lambda: pd.array(some().labels.numpy(), dtype="Int64"),
        UNREADABLE: lambda: None,
    }
    return pd.DataFrame(
        {name: made[name]() if name in made else values[name] for name in columns}, index=range(len(places))
    )


def _unreadable_rows(images: ImageTable, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield these columns of the rows of files that could not be read, in pieces."""
    record = images.record
    files = iter(images.unreadable())
    while some := list(islice(files, UNREADABLE_AT_ONCE)):
        rows = pd.DataFrame(some, columns=[FILE, UNREADABLE]).assign(**{SOURCE: record.name, SPLIT: record.split})
        yield rows.reindex(columns=list(columns))
