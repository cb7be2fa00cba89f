"""The digest of a model's weights, by which a detector names its model."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from glow_pipeline.training.model_file import CALIBRATION, TRAINED_ON
from glow_pipeline.training.state import Weights


def weights_sha256(weights: Weights) -> str:
    """Return the SHA-256 of a state dict: of the names, types, shapes and values of its tensors."""
    return _digest((name, weights[name]) for name in sorted(weights))


def stored_weights_sha256(path: Path) -> str:
    """Return `weights_sha256` of a stored model; memory holds one tensor at a time."""
    with safe_open(path, framework="pt") as file:
        names = sorted(name for name in file.keys() if name not in (TRAINED_ON, CALIBRATION))  # noqa: SIM118
        return _digest((name, file.get_tensor(name)) for name in names)


def _digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
