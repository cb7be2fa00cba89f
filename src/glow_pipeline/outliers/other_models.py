"""The models beside the scored one that some scores compare it with."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.flow import Glow

Kind = Literal["background", "ensemble"]  # names of parameters in `ood`, too


def _no_hashes() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class OtherModels:
    """Models of images of the same shape and bits as the scored model's, in evaluation mode.

    Attributes:
        background: a model of what all images have in common; None: none is needed.
        ensemble: models of the same images, each trained with another seed; empty: none is needed.
        names: version and SHA-256 of each file, by kind, for the metrics.
        trained_on: content hashes (n,) of all images that these models were trained on, which no test image may be:
            a training of another seed holds out other images of a folder.
    """

    background: Glow | None = None
    ensemble: tuple[Glow, ...] = ()
    names: dict[Kind, list[str]] = field(default_factory=dict)
    trained_on: NDArray[np.int64] = field(default_factory=_no_hashes)

    @contextmanager
    def on(self, device: torch.device) -> Iterator[Self]:
        """Move these models to a device and fold their parameters once for all passes in the block."""
        with ExitStack() as folded:
            for model in filter(None, (self.background, *self.ensemble)):
                folded.enter_context(model.to(device).unchanging())
            yield self

    def record(self) -> dict[str, object]:
        """Return which models were used, for metrics and records: `background_model`, `ensemble_models`."""
        found: dict[str, object] = {}
        if "background" in self.names:
            found["background_model"] = self.names["background"][0]
        if "ensemble" in self.names:
            found["ensemble_models"] = self.names["ensemble"]
        return found
