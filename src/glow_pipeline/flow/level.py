"""One level of the flow: squeeze, then K steps (Glow, figure 2b), by the plain layers or by the fast path."""

from typing import cast

import torch
from torch import Tensor, nn

from glow_pipeline.flow.coupling import is_foldable
from glow_pipeline.flow.fast import passes
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.prepared import Prepared, prepare
from glow_pipeline.flow.squeeze import Squeeze
from glow_pipeline.flow.step import FlowStep


class Level(nn.Module):
    """Squeeze, then K steps: (B, C, H, W) -> (B, 4C, H/2, W/2), and logdet (B,)."""

    def __init__(self, steps: list[FlowStep]) -> None:
        super().__init__()
        self.squeeze = Squeeze()
        self.steps = nn.ModuleList(steps)
        self._kept: Prepared | None = None

    @property
    def foldable(self) -> bool:
        """True if the fast path can compute these steps."""
        return all(is_foldable(type(step.coupling)) for step in self._steps)

    @torch.no_grad()
    def prepare(self) -> None:
        """Fold the parameters, if they can be folded, for all passes without gradients until `forget`."""
        self._kept = prepare(self._steps) if self.foldable else None

    def forget(self) -> None:
        self._kept = None

    def forward(self, x: Tensor, execution: Execution | None = None) -> tuple[Tensor, Tensor]:
        """Compute by the fast path, or without `execution` by the plain layers, which are slower and define the map."""
        x, logdet = self.squeeze(x)
        if execution is not None:
            x = x.contiguous(memory_format=torch.channels_last)
            return passes.forward(self._steps, self._prepared(execution.network_dtype), x, execution)
        for step in self.steps:
            x, step_logdet = step(x)
            logdet = logdet + step_logdet
        return x, logdet

    @torch.no_grad()
    def traced(self, x: Tensor, execution: Execution | None) -> tuple[Tensor, Tensor, Tensor]:
        """Compute `forward`, and the couplings' log-scales summed over steps and channels, (B, H/2, W/2).

        Plain layers do not report where their log-determinant comes from: it is spread evenly over all positions.
        """
        if execution is None:
            y, logdet = self(x)
            height, width = y.shape[2:]
            return y, logdet, (logdet / (height * width))[:, None, None].expand(-1, height, width)
        x, _ = self.squeeze(x)
        x = x.contiguous(memory_format=torch.channels_last)
        return passes.traced(self._steps, self._prepared(), x, execution)

    def inverse(self, y: Tensor, execution: Execution | None = None) -> Tensor:
        """Compute the inverse of `forward`: (B, 4C, H/2, W/2) -> (B, C, H, W)."""
        if execution is not None:
            return self.squeeze.inverse(passes.inverse(self._steps, self._prepared(), y, execution))
        for step in reversed(self._steps):
            y = step.inverse(y)
        return self.squeeze.inverse(y)

    def _prepared(self, network_dtype: torch.dtype | None = None) -> Prepared:
        """Fold the parameters, if they are not: with gradients to this dtype of networks, else as they are."""
        if torch.is_grad_enabled():
            return prepare(self._steps, network_dtype)
        return self._kept or prepare(self._steps)

    @property
    def _steps(self) -> list[FlowStep]:
        return cast(list[FlowStep], list(self.steps))
