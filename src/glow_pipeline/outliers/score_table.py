"""Tables of scores, a row an image, that are read in pieces: of any size, at the memory of one piece."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.outliers.scores.registry import UNREADABLE

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

IS_OUT = "is_out"  # column that tells the sets apart
PIECE = 2**18  # rows
SHOW_AFTER = 5.0  # seconds until a progress bar appears
MOST_IN_MEMORY = 1_000_000  # rows of a table that is handed over as a DataFrame: some 250 MB


class ScoreTable(ABC):
    """Rows of scores that need not be in memory; files that could not be read have rows without a score.

    A subclass has `columns`, `len` and `_pieces`. Each piece of rows is a DataFrame whose index is the position of
    each row in the whole table.
    """

    @staticmethod
    def of(rows: "pd.DataFrame | ScoreTable") -> "ScoreTable":
        """Return rows as such a table, whether they are in memory or not."""
        return rows if isinstance(rows, ScoreTable) else ScoresInMemory(rows)

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The names of the columns, in their order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _pieces(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        """Yield the rows in pieces, in their order, with at least these columns, of which there is at least one."""

    def frames(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the rows in pieces, with these columns alone, in this order; None: with all."""
        chosen, start = self.columns if columns is None else list(columns), 0
        with tqdm(total=len(self), desc="rows of scores", unit_scale=True, delay=SHOW_AFTER, leave=False) as bar:
            for piece in self._pieces(chosen):
                frame = piece[chosen]
                frame.index = pd.RangeIndex(start, start + len(frame))
                start += len(frame)
                yield frame
                bar.update(len(frame))

    def readable(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield the rows of images that could be read, in pieces, with these columns."""
        for frame in self.frames(list(dict.fromkeys([*columns, UNREADABLE]))):
            missing = frame[UNREADABLE].notna().to_numpy()
            yield (frame[~missing] if missing.any() else frame)[list(columns)]

    def column(self, name: str) -> NDArray[Any]:
        """Return the values of one column."""
        return np.concatenate([frame[name].to_numpy() for frame in self.frames([name])])

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows in memory."""
        return pd.concat(self.frames(columns))

    def take(self, positions: NDArray[np.int64], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows at some positions, in the order of these; their index is the position."""
        found = [frame[frame.index.isin(positions)] for frame in self.frames(columns)]
        return pd.concat([frame for frame in found if len(frame)] or found[:1]).loc[positions]

    def to_parquet(self, path: Any, **options: Any) -> None:
        """Write the rows to a file, piece by piece, as pandas' `DataFrame.to_parquet` writes them at once.

        Args:
            path: path of the file, or an open one.
            options: of pyarrow's ParquetWriter.
        """
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        frames = self.frames()
        first = next(frames)
        # A text that no row of the first piece has may come later: a column without a value is one of texts.
        found = pa.Schema.from_pandas(first, preserve_index=False)
        fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in found]
        table = pa.Table.from_pandas(first, schema=pa.schema(fields), preserve_index=False)
        with ParquetWriter(path, table.schema, **options) as writer:
            writer.write_table(table)
            for frame in frames:
                writer.write_table(pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False))


class ScoresInMemory(ScoreTable):
    """Rows that are in memory, as one piece."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows

    @property
    def columns(self) -> list[str]:
        return list(self._rows.columns)

    def __len__(self) -> int:
        return len(self._rows)

    def _pieces(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        yield self._rows[columns]


class StoredScores(ScoreTable):
    """Rows in parquet files, one file after another.

    Args:
        files: their paths.
        opener: opens a path that is not on a local disk; it has to seek, so that a column is read without the others.
    """

    def __init__(self, files: Sequence[Path | str], opener: Callable[[str], BinaryIO] | None = None) -> None:
        self._files, self._opener = files, opener

    @cached_property
    def columns(self) -> list[str]:
        with self._open(self._files[0]) as file:
            return list(file.schema_arrow.names)

    @cached_property
    def _count(self) -> int:
        total = 0
        for path in self._files:
            with self._open(path) as file:
                total += file.metadata.num_rows
        return total

    def __len__(self) -> int:
        return self._count

    def _pieces(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        for path in self._files:
            with self._open(path) as file:
                if not file.metadata.num_rows:
                    yield file.schema_arrow.empty_table().to_pandas()
                for group in range(file.num_row_groups):  # one reader of all would keep what it has read
                    for batch in file.iter_batches(PIECE, row_groups=[group], columns=columns):
                        yield batch.to_pandas()

    def _open(self, path: Path | str) -> "ParquetFile":
        from pyarrow.parquet import ParquetFile

        return ParquetFile(path if self._opener is None else self._opener(str(path)))


class BothSets(ScoreTable):
    """The rows of the in-distribution images and then those of the outliers, with a column that tells them apart."""

    def __init__(self, inside: ScoreTable, outside: ScoreTable) -> None:
        self._inside, self._outside = inside, outside

    @property
    def columns(self) -> list[str]:
        return [*self._inside.columns, IS_OUT]

    def __len__(self) -> int:
        return len(self._inside) + len(self._outside)

    def _pieces(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        own = [name for name in columns if name != IS_OUT] or self._inside.columns[:1]
        for is_out, table in ((False, self._inside), (True, self._outside)):
            for piece in table._pieces(own):
                yield piece.assign(**{IS_OUT: is_out})
