"""Random numbers without hidden state.

Every draw comes from a generator made from (seed, purpose, step), so that the shuffling of epoch 7 is
the same whether the six epochs before it ran in this process, in another one, or not at all.
"""

import hashlib

import torch


def generator(seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator for one purpose at one step.

    Args:
        seed: the run's seed.
        purpose: use of the numbers ("shuffle", "dequantize", ...).
        step: epoch, step or first row that they are for.
        device: device that draws the numbers. Two devices draw different numbers from one seed.
    """
    return torch.Generator(device).manual_seed(key(seed, purpose, step))


def key(seed: int, purpose: str, step: int = 0) -> int:
    """Return the signed 64-bit seed of one purpose at one step."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
