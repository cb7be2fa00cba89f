"""An alarm for a gradient far beyond all others, after which Adamax takes next to no steps."""

import logging
from collections.abc import Sequence

from glow_pipeline.training.history import Metrics

FAR_BEYOND = 1000  # times the mean norm; trainings that learn well stay below 100

logger = logging.getLogger(__name__)


class GradientAlarm:
    """Warns once in a training whose gradients are not limited.

    Adamax divides by the infinity norm u <- max(beta2 u, |g|), beta2 = .999, so a gradient that is a million times
    larger than the others keeps the steps small for ln(1e6) / .001, some 14,000 steps.

    Args:
        max_grad_norm: `train.max_grad_norm`, by which the norm is limited; 0: it is not.
    """

    def __init__(self, max_grad_norm: float) -> None:
        self._silent = max_grad_norm > 0

    def check(self, epoch: Metrics, before: Sequence[Metrics]) -> None:
        """Compare the largest norm of an epoch with the mean norms of the epochs before it.

        Args:
            epoch: has `epoch` and `largest_grad_norm`.
            before: earlier epochs, each with `grad_norm`; without one nothing is compared.
        """
        usual = min((row["grad_norm"] for row in before), default=0.0)
        if self._silent or not 0 < FAR_BEYOND * usual < epoch["largest_grad_norm"]:
            return
        self._silent = True
        logger.warning(
            "epoch %d: the norm of a gradient was %.2g, %.2g times the usual one, and Adamax takes next to no steps "
            "for a long time after it; the model of the best epoch is kept. Train again with train.max_grad_norm=%s "
            "or a lower train.lr",
            epoch["epoch"],
            epoch["largest_grad_norm"],
            epoch["largest_grad_norm"] / usual,
            f"{float(f'{usual:.1g}'):g}",
        )
