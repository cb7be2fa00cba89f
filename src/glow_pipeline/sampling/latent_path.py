"""Paths between two points of latent space."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

LatentPath = Literal["linear", "sphere"]
Latents = list[Tensor]  # one (n, *shape) for each level


def along_line(start: Latents, end: Latents, part: float) -> Latents:
    """Return the latents at this part, 0 to 1, of the straight lines from `start` to `end`."""
    return [(1 - part) * a + part * b for a, b in zip(start, end, strict=True)]


def along_sphere(start: Latents, end: Latents, part: float) -> Latents:
    """Return the latents at this part, 0 to 1, of the great circles from `start` to `end`.

    All levels of an image are one vector. Its direction turns at a constant rate (White 2016, arXiv:1609.04468), and
    its norm changes linearly. The norm of standard normal latents of many dimensions d is close to sqrt(d), and on a
    straight line between two of them it sinks to about sqrt(d / 2).

    The ends are exact, to the bit. Opposite latents have no great circle of their own, and the result is not finite or
    meaningless.
    """
    a, b = (torch.cat([level.flatten(1) for level in latents], dim=1) for latents in (start, end))
    norm_a, norm_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    to_a, to_b = a / norm_a, b / norm_b
    # The arc cosine of the product would lose half of the digits of small angles (Kahan 2006, Mangled Angles).
    angle = 2 * torch.atan2((to_a - to_b).norm(dim=1, keepdim=True), (to_a + to_b).norm(dim=1, keepdim=True))
    norm = (1 - part) * norm_a + part * norm_b
    weights = (_weight(angle, 1 - part) * norm / norm_a, _weight(angle, part) * norm / norm_b)
    weight_a, weight_b = (weight.view(-1, 1, 1, 1) for weight in weights)
    return [weight_a * a + weight_b * b for a, b in zip(start, end, strict=True)]


def _weight(angle: Tensor, part: float) -> Tensor:
    """Return sin(part * angle) / sin(angle), whose limit at angle 0 is `part`."""
    turns = angle / torch.pi  # torch.sinc(t) is sin(pi t) / (pi t)
    return part * torch.sinc(part * turns) / torch.sinc(turns)


LATENT_PATHS: dict[LatentPath, Callable[[Latents, Latents, float], Latents]] = {
    "linear": along_line,
    "sphere": along_sphere,
}
