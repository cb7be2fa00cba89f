"""The learning rate over the steps of a run."""

import torch


def warmup_schedule(optimizer: torch.optim.Optimizer, warmup_steps: float) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate rises linearly to its full value over `warmup_steps` steps and stays there."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1.0, warmup_steps)))
