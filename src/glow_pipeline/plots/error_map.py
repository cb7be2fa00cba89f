"""Maps of errors of pixels."""

import matplotlib
import torch
from torch import Tensor

COLOURS = "inferno"  # black over red to pale yellow; even in lightness, also for the colour-blind


def error_maps(errors: Tensor, largest: float) -> Tensor:
    """Colour errors from 0, black, to `largest`, pale yellow: uint8 (n, 3, H, W).

    Args:
        errors: (n, H, W), not negative; NaN counts as 0 and anything above `largest` as `largest`.
        largest: the error that is pale yellow; 0 makes all maps black.
    """
    share = (errors.nan_to_num(nan=0.0) / (largest or 1.0)).clamp(0, 1).cpu().numpy()
    return torch.from_numpy(matplotlib.colormaps[COLOURS](share, bytes=True)[..., :3]).permute(0, 3, 1, 2)
