"""The matrix of a benchmark: each score's metrics on each pair of an in-distribution set and a set of outliers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glow_pipeline.outliers.benchmark.out_sets import Kind
from glow_pipeline.outliers.bootstrap import metrics_with_intervals
from glow_pipeline.outliers.metric_names import REFERENCES

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Pair:
    """The scores of two sets.

    Attributes:
        in_dataset, out_dataset: names of the sets.
        kind: near, far or control.
        in_values, out_values: name of a score -> values (n_in,) and (n_out,), the main score first.
        is_paired: whether the values of each set are in the same order for all scores, so that these can be compared
            image by image.
    """

    in_dataset: str
    out_dataset: str
    kind: Kind
    in_values: Values
    out_values: Values
    is_paired: bool = True

    def rows(self, draws: int, seed: int) -> list[dict[str, object]]:
        """Return a row a score: its metrics with 95% intervals, and its AUROC minus that of each reference score.

        Args:
            draws: resamples of the test images; 0: no intervals.
            seed: seed of the resamples.
        """
        values = {
            name: np.concatenate([inside, self.out_values[name]])
            for name, inside in self.in_values.items()
            if name in self.out_values
        }
        n_in, n_out = (len(next(iter(each.values()), ())) for each in (self.in_values, self.out_values))
        is_out = np.arange(n_in + n_out) >= n_in
        references = REFERENCES if self.is_paired else ()
        return [
            {
                "in_dataset": self.in_dataset,
                "out_dataset": self.out_dataset,
                "kind": self.kind,
                "score": name,
                "n_in": n_in,
                "n_out": n_out,
                **metrics,
                "n_not_finite_in": int((~np.isfinite(self.in_values[name])).sum()),
                "n_not_finite_out": int((~np.isfinite(self.out_values[name])).sum()),
            }
            for name, metrics in metrics_with_intervals(is_out, values, references, draws, seed).items()
        ]


def with_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Add the mean and the standard deviation of the AUROC over models of several training seeds.

    Args:
        table: a row a model, pair and score.

    Returns:
        The table with n_seeds, auroc_mean and auroc_sd, which are equal in the rows of one pair and score; the
        standard deviation, of n_seeds - 1 degrees of freedom, is missing with one model.
    """
    groups = table.groupby(["in_dataset", "out_dataset", "score"], sort=False)["auroc"]
    return table.assign(
        n_seeds=groups.transform("size"), auroc_mean=groups.transform("mean"), auroc_sd=groups.transform("std")
    )


def matrix(table: pd.DataFrame, value: str = "auroc_mean") -> pd.DataFrame:
    """Return a row a pair and a column a score, in the table's order; missing where a pair has no such score.

    Args:
        table: as `with_seeds` returns it.
        value: the column to show.
    """
    pairs = table[["in_dataset", "out_dataset", "kind"]].drop_duplicates()
    first = table.drop_duplicates(["in_dataset", "out_dataset", "score"])
    wide = first.pivot(index=["in_dataset", "out_dataset", "kind"], columns="score", values=value)
    return wide.reindex(index=pd.MultiIndex.from_frame(pairs), columns=list(dict.fromkeys(table["score"])))


def names_of(pairs: pd.DataFrame, main_dataset: str) -> Sequence[str]:
    """Return a short name of each row of `matrix`: the outliers, and the in-distribution set where it is another."""
    return [
        out if inside == main_dataset else f"{inside} vs {out}"
        for inside, out, _ in pairs.index.to_flat_index().tolist()
    ]
