"""Groups of images that are judged together: whether all of a group belong to the training distribution.

A group of m images is one sample of m from some distribution. Its score is that of the mean of the numbers by which a
`GroupScore` describes its images: of `typicality` the distance of the group's mean negative log-likelihood from that of
the validation images (Nalisnick et al. 2019, arXiv:1906.02994), of `latent_ks` the distance of the pooled latents.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.outliers.metrics import detection_metrics
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.group_score import GroupScore
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.outliers.scoring import described_batches
from glow_pipeline.randomness import key

RESAMPLES = 1000  # groups of validation images by which the threshold is set
LEVEL = 0.05  # share of them that the threshold flags


def draw_groups(n: int, size: int, seed: int) -> NDArray[np.int64]:
    """Draw groups without replacement: for each of n images the number of its group, -1 for those left over.

    Args:
        n: number of images.
        size: images a group.
        seed: of the draw.
    """
    order = np.random.default_rng(key(seed, "groups") % 2**64).permutation(n)
    group = np.full(n, -1)
    grouped = order[: n // size * size]
    group[grouped] = np.arange(len(grouped)) // size
    return group


def score_groups(
    model: Glow, batches: Batches, scores: Sequence[GroupScore], size: int, seed: int, draws: int = 1
) -> dict[str, Numbers]:
    """Return the scores of groups of a table's images, (n_groups,) by name of the score.

    One pass of the flow; memory holds the numbers of all groups and the pixels of one batch.

    Args:
        model: the flow.
        batches: batches of the table, in its order.
        scores: fitted.
        size: images a group.
        seed: of the groups and of the dequantization noise.
        draws: of the noise, over which the numbers that describe an image are averaged.

    Raises:
        GlowPipelineError: the table has fewer images than a group.
    """
    group = draw_groups(batches.n_images, size, seed)
    n_groups = batches.n_images // size
    name = batches.table.record.name
    if not n_groups:
        raise GlowPipelineError(
            f"ood.group_size={size}: {name} has {batches.n_images} images, fewer than a group; lower it"
        )
    sums: dict[str, Numbers] = {}
    first = 0
    for described in described_batches(model, batches, scores, seed, draws, f"score groups of {name}"):
        for score in scores:
            numbers = described[score.name]
            rows = group[first : first + len(numbers)]
            total = sums.setdefault(score.name, np.zeros((n_groups, numbers.shape[1])))
            np.add.at(total, rows[rows >= 0], numbers[rows >= 0])
        first += len(numbers)
    return {
        score.name: np.nan_to_num(score.score(sums[score.name] / size), nan=np.inf, posinf=np.inf, neginf=np.inf)
        for score in scores
    }


def metrics_of_groups(
    scores: Sequence[GroupScore], inside: Mapping[str, Numbers], outside: Mapping[str, Numbers], size: int, seed: int
) -> dict[str, object]:
    """Return the metrics of groups: `group_typicality.auroc`, ...

    Args:
        scores: fitted.
        inside, outside: scores of the groups of both sets, by name of the score.
        size: images a group.
        seed: of the bootstrap.

    Returns:
        group_size, n_groups_in, n_groups_out; and of each score those of `detection_metrics`, and the shares of both
        sets' groups (flagged_in, flagged_out) above the 95% quantile of 1,000 groups of validation images, which are
        drawn with replacement.
    """
    first = scores[0].name
    metrics: dict[str, object] = {
        "group_size": size,
        "n_groups_in": len(inside[first]),
        "n_groups_out": len(outside[first]),
    }
    for score in scores:
        in_scores, out_scores = inside[score.name], outside[score.name]
        is_out = np.arange(len(in_scores) + len(out_scores)) >= len(in_scores)
        threshold = np.quantile(score.bootstrap(size, RESAMPLES, seed), 1 - LEVEL)
        own = {
            **detection_metrics(is_out, np.concatenate([in_scores, out_scores])),
            "flagged_in": float((in_scores > threshold).mean()),
            "flagged_out": float((out_scores > threshold).mean()),
        }
        metrics |= {f"group_{score.name}.{name}": value for name, value in own.items()}
    return metrics


def lines_of_groups(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return metric -> meaning, in the order to print; none if no groups were judged."""
    if "group_size" not in metrics:
        return {}
    size = metrics["group_size"]
    return {
        f"group_{score.name}.auroc": f"AUROC of groups of {size} images by the {score.summary}"
        for score in SCORES.values()
        if f"group_{score.name}.auroc" in metrics
    }
