"""Mean latents of groups of images, from which attributes follow (Glow, section 5, arXiv:1807.03039)."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import exact
from glow_pipeline.flow import Glow
from glow_pipeline.images.content import content_noise
from glow_pipeline.sampling.real_images import LabelledImages


class GroupMeans(NamedTuple):
    """Mean latents of G groups of images.

    Attributes:
        means: float64 (G, *latent_shapes[i]) for each level i, on the CPU; NaN for a group without an image.
        counts: int64 (G,), images that were averaged.
    """

    means: list[Tensor]
    counts: Tensor

    def direction(self, group: int, sizes: Tensor) -> list[Tensor]:
        """Return the mean latents of one group minus those of all others, float32 (*latent_shapes[i]) for each level.

        Args:
            group: the group.
            sizes: images of each group in the whole set (G,), by which the others' means are weighted.
        """
        weights = torch.where(self.counts > 0, sizes, 0).double()
        weights[group] = 0
        others = weights.nonzero().flatten()
        shares = weights[others] / weights.sum()
        return [(mean[group] - torch.tensordot(shares, mean[others], dims=1)).float() for mean in self.means]


def latents_before_prior(flow: Glow, x: Tensor) -> list[Tensor]:
    """Return the latents of dequantized images x (n, C, H, W): standardised, but the top one before the top prior.

    That prior alone knows classes. Before it, a class-conditioned flow encodes an image without a label.
    """
    latent = flow.to_top(x)
    return [*latent.eps, latent.z]


@torch.no_grad()
def group_means(
    flow: Glow, batches: Iterable[LabelledImages], group_of_class: Tensor, n_groups: int, noise_key: int
) -> GroupMeans:
    """Encode images and average their latents by group, in float64, in memory that does not grow with their number.

    Args:
        flow: the model.
        batches: images and their classes.
        group_of_class: int64 (number of classes,).
        n_groups: G.
        noise_key: key of the dequantization noise, which depends on it and on an image's pixels alone.
    """
    device = next(flow.parameters()).device
    sums = [torch.zeros(n_groups, *shape, dtype=torch.float64) for shape in flow.latent_shapes]
    counts = torch.zeros(n_groups, dtype=torch.int64)
    with flow.unchanging():
        for images, labels in batches:
            on_device = images.to(device)
            x, _ = flow.dequantization.forward(on_device, content_noise(on_device, noise_key))
            groups = group_of_class[labels]
            counts += torch.bincount(groups, minlength=n_groups)
            for total, latent in zip(sums, latents_before_prior(flow, x), strict=True):
                total.index_add_(0, groups, exact(latent).cpu())
    return GroupMeans([total / counts.view(-1, 1, 1, 1) for total in sums], counts)


def draw_places(groups: Tensor, most: int, generator: torch.Generator) -> NDArray[np.int64]:
    """Draw images at random, of each group that occurs equally many as far as there are.

    Args:
        groups: the group of each image, int64 (N,).
        most: images of all groups together.
        generator: draws them.

    Returns:
        Their places in `groups`, rising.
    """
    order = torch.randperm(len(groups), generator=generator)
    by_group = order[groups[order].argsort(stable=True)].split(groups.bincount().tolist())
    occurring = [places for places in by_group if len(places)]
    each = max(1, most // len(occurring))
    return torch.cat([places[:each] for places in occurring]).sort().values.numpy()
