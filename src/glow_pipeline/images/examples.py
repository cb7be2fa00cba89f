"""A few images that show what is in a table."""

import numpy as np
from numpy.typing import NDArray


def first_of_each_class(labels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return up to n rows by class: the first image of each of the first n classes, then the second of each, ...

    Args:
        labels: (N,), of all images.
        n: at least 1.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    # How many images of its class come before each one.
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    chosen = np.lexsort((labels, place))[:n]
    return chosen[np.lexsort((place[chosen], labels[chosen]))]
