"""A pair of scored sets, in files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.benchmark.out_sets import Kind
from glow_pipeline.outliers.benchmark.pairs import Pair
from glow_pipeline.outliers.score_table import StoredScores
from glow_pipeline.outliers.scores.score import Numbers, Score


@dataclass(frozen=True)
class ScoredPair:
    """The stored scores of two sets by one model.

    Attributes:
        in_dataset, out_dataset, kind: as in `Pair`.
        made_with: facts of the model: its version, its seed, its detector's version.
        in_file: score table of the in-distribution set.
        in_rows: those of its readable images that are compared, bool (n,).
        outside: score table of the outliers; of the calibration images the name of a score -> its values, sorted.
    """

    in_dataset: str
    out_dataset: str
    kind: Kind
    made_with: Mapping[str, object]
    in_file: Path
    in_rows: NDArray[np.bool_]
    outside: Path | Mapping[str, Numbers]

    def read(self, scores: Sequence[Score]) -> Pair:
        """Return the pair with the values of those of these scores that it has, the main one first."""
        inside = {name: values[self.in_rows] for name, values in _values(self.in_file, scores).items()}
        if isinstance(self.outside, Path):
            return Pair(self.in_dataset, self.out_dataset, self.kind, inside, _values(self.outside, scores))
        return Pair(self.in_dataset, self.out_dataset, self.kind, inside, self.outside, is_paired=False)


def _values(file: Path, scores: Sequence[Score]) -> dict[str, Numbers]:
    table = StoredScores([file])
    return {
        score.name: np.concatenate(
            [frame[score.column].to_numpy(dtype=np.float64) for frame in table.readable([score.column])]
        )
        for score in scores
        if score.column in table.columns
    }
