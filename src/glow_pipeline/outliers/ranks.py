"""Ranks of images by several scores, and the images on which two scores disagree most."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glow_pipeline.outliers.metrics import places


def ranks(score: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the rank of each image, (n,): 1 for the most outlying; equal scores share the lowest rank among them."""
    place = places(score)
    higher = np.concatenate([[0], np.bincount(place).cumsum()])  # images in the places before
    return higher[place] + 1


def most_outlying(scored: pd.DataFrame, column: str, n: int) -> pd.DataFrame:
    """Return the rows of the most outlying images of each set, with their ranks among all in a first column.

    Args:
        scored: scores of both sets, which `is_out` tells apart.
        column: the score that ranks them.
        n: rows of each set at most.
    """
    ranked = scored.copy()
    ranked.insert(0, "rank", ranks(scored[column].to_numpy()))
    ordered = ranked.sort_values("rank", kind="stable")
    return ordered.groupby("is_out", sort=False).head(n).reset_index(drop=True)


def images_to_show(
    rank: Mapping[str, NDArray[np.int64]], is_out: NDArray[np.bool_], n: int
) -> dict[str, NDArray[np.int64]]:
    """Return the images worth a look, by a heading that says why.

    Args:
        rank: name of a score -> ranks, (n_images,): the main score, and perhaps a second one.
        is_out: (n_images,), true for the outliers.
        n: most images below a heading.

    Returns:
        Heading -> indices of images: those that the main score gets wrong, in each set the worst first, and those on
        which two scores disagree. A heading without an image is left out.
    """
    main, *second = rank
    falling, rising = np.argsort(rank[main], kind="stable"), np.argsort(-rank[main], kind="stable")
    rows = {
        f"test images that {main} ranks as most outlying": falling[~is_out[falling]][:n],
        f"outliers that {main} ranks as least outlying": rising[is_out[rising]][:n],
    }
    for other in second:
        higher, lower = disagreements(rank[main], rank[other], n)
        rows |= {f"more outlying by {main} than by {other}": higher, f"more outlying by {other} than by {main}": lower}
    return {heading: chosen for heading, chosen in rows.items() if len(chosen)}


def disagreements(
    first: NDArray[np.int64], second: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the images that one score ranks much higher than another, the largest difference of ranks first.

    Args:
        first, second: ranks of the same images, (n_images,).
        n: most images to return.

    Returns:
        Indices of images that the first score ranks higher than the second, and of those that it ranks lower.
    """
    difference = second - first
    order = np.argsort(-difference, kind="stable")
    higher = order[difference[order] > 0]
    lower = order[::-1][difference[order[::-1]] < 0]
    return higher[:n], lower[:n]
