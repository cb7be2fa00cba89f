"""The negative log-likelihood of an image's quarters: where the flow finds it improbable."""

from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.heat_maps.position_nll import position_nll

QUARTERS = ("upper left", "upper right", "lower left", "lower right")


def nll_of_quarters(batch: ModelledBatch) -> Tensor:
    """Return the negative log-likelihood of each quarter, in nats per pixel: float64 (B, 4), row by row.

    The parts are those of `position_nll`. Convolutions carry information over the quarters' borders, so the division
    is approximate.
    """
    return F.adaptive_avg_pool2d(position_nll(batch)[:, None], 2).flatten(1)
