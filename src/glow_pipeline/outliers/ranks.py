"""Ranks of images by several scores, the images on which two scores disagree most, and the most outlying ones."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glow_pipeline.outliers.metrics import ordered
from glow_pipeline.outliers.score_histogram import count_images, pieces_of, score_histogram
from glow_pipeline.outliers.score_table import IS_OUT, MOST_IN_MEMORY, ScoreTable

Ranks = Callable[[NDArray[np.floating]], NDArray[np.int64]]  # scores (n,) -> ranks (n,)


def rank_function(table: ScoreTable, column: str, most_exact: int = MOST_IN_MEMORY) -> Ranks:
    """Return a function that returns the rank of each score among all images of the table.

    Rank 1 is the most outlying; equal scores share the lowest rank among them.

    Args:
        table: scores of both sets.
        column: the score.
        most_exact: more images have ranks that are exact to some millionths of their number.
    """
    n_in, n_out = count_images(table)
    if n_in + n_out > most_exact:
        return score_histogram(pieces_of(table, column), n_in, n_out).ranks
    rising = np.sort(np.concatenate([ordered(score) for _, score in pieces_of(table, column)()]))
    return lambda score: len(rising) + 1 - np.searchsorted(rising, ordered(score), side="right")


def exact_ranks(table: ScoreTable, column: str, score: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the rank of each of some scores among all images of the table, in one pass over it."""
    wanted, place = np.unique(ordered(score), return_inverse=True)
    higher = np.zeros(len(wanted) + 1, dtype=np.int64)  # images above exactly so many of the wanted scores
    for _, piece in pieces_of(table, column)():
        higher += np.bincount(np.searchsorted(wanted, ordered(piece)), minlength=len(higher))
    return (1 + higher.sum() - higher.cumsum())[place]


def most_outlying(table: ScoreTable, column: str, n: int) -> pd.DataFrame:
    """Return the rows of the most outlying images of each set, with their ranks among all in a first column.

    Args:
        table: scores of both sets, which `is_out` tells apart.
        column: the score that ranks them.
        n: rows of each set at most.
    """
    highest = _Highest(n), _Highest(n)
    for frame in table.readable([IS_OUT, column]):
        is_out, score = frame[IS_OUT].to_numpy(dtype=bool), ordered(frame[column].to_numpy())
        for out, best in enumerate(highest):
            best.add(score[is_out == out], frame.index.to_numpy()[is_out == out])
    listed = table.take(np.sort(np.concatenate([best.positions for best in highest])))
    listed.insert(0, "rank", exact_ranks(table, column, listed[column].to_numpy()))
    return listed.sort_values("rank", kind="stable").reset_index(drop=True)


class RankedPiece(NamedTuple):
    """Some images with their ranks.

    Attributes:
        positions: (n,), of their rows.
        is_out: (n,), true for the outliers.
        rank: name of a score -> ranks, (n,): the main score, and perhaps a second one.
    """

    positions: NDArray[np.int64]
    is_out: NDArray[np.bool_]
    rank: Mapping[str, NDArray[np.int64]]


def images_to_show(pieces: Iterable[RankedPiece], n: int) -> dict[str, NDArray[np.int64]]:
    """Return the images worth a look, by a heading that says why.

    Args:
        pieces: all images.
        n: most images below a heading.

    Returns:
        Heading -> positions of images: those that the main score gets wrong, in each set the worst first, and those on
        which two scores disagree, the largest difference of ranks first. A heading without an image is left out.
    """
    shown: dict[str, _Highest] = {}
    for positions, is_out, rank in pieces:
        main, *second = rank
        chosen = {
            f"test images that {main} ranks as most outlying": (-rank[main], ~is_out),
            f"outliers that {main} ranks as least outlying": (rank[main], is_out),
        }
        for other in second:
            lead = rank[other] - rank[main]
            chosen |= {
                f"more outlying by {main} than by {other}": (lead, lead > 0),
                f"more outlying by {other} than by {main}": (-lead, lead < 0),
            }
        for heading, (order, some) in chosen.items():
            shown.setdefault(heading, _Highest(n)).add(order[some], positions[some])
    return {heading: highest.positions for heading, highest in shown.items() if len(highest.positions)}


class _Highest:
    """Positions of the rows with the highest numbers among all that are added, the highest first.

    Args:
        n: most rows to keep; of equal numbers the earlier rows.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._numbers: NDArray[np.number] = np.empty(0)
        self.positions: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, numbers: NDArray[np.number], positions: NDArray[np.int64]) -> None:
        """Add rows, which come after all others."""
        if len(self.positions) == self._n:
            higher = numbers > self._numbers[-1]
            numbers, positions = numbers[higher], positions[higher]
        numbers = np.concatenate([self._numbers, numbers]) if len(self.positions) else numbers
        positions = np.concatenate([self.positions, positions])
        first = np.argsort(-numbers, kind="stable")[: self._n]
        self._numbers, self.positions = numbers[first], positions[first]
