"""The device on which float64 and factorizations are computed."""

import torch


def float64_device(device: torch.device) -> torch.device:
    """Return the device, or the CPU in place of MPS, which has no float64 and, in some versions of torch, no LU."""
    return torch.device("cpu") if device.type == "mps" else device
