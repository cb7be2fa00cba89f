"""Random numbers without a hidden state.

Every draw comes from a generator made from (seed, purpose, step), so that the shuffling of epoch 7 is
the same whether the six epochs before it ran in this process, in another one, or not at all.
"""

import hashlib

import torch


def generator(seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator for one purpose at one step.

    Args:
        seed: the run's seed.
        purpose: what the numbers are for ("shuffle", "dequantize", ...).
        step: which epoch, step or first row they are for.
        device: where the numbers are drawn. Two devices draw different numbers from one seed.
    """
    return torch.Generator(device).manual_seed(key(seed, purpose, step))


def key(seed: int, purpose: str, step: int = 0) -> int:
    """Return the signed 64-bit number that stands for a purpose at a step, under this seed."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
