"""The parameters of the flow: `model.*`.

Those that GenerativeZoo's Glow has too keep its names and defaults.
"""

from typing import Annotated

from pydantic import Field

from glow_pipeline.flow.coupling import COUPLINGS
from glow_pipeline.flow.step import FlowPermutation
from glow_pipeline.memory import FlowSize
from glow_pipeline.parameters.group import OneOf, ParameterGroup


class ModelParameters(ParameterGroup):
    """The flow."""

    K: int = Field(8, ge=1, description="steps of flow per level")
    L: int = Field(3, ge=1, le=16, description="levels; each halves both sides of the image")
    hidden_channels: int = Field(64, ge=1, description="width of the coupling networks")
    actnorm_scale: float = Field(
        1.0, gt=0, description="standard deviation of each channel after an actnorm's initialisation"
    )
    flow_permutation: FlowPermutation = Field("invconv", description="how channels are mixed; invconv: 1x1 convolution")
    flow_coupling: Annotated[str, OneOf(COUPLINGS)] = Field("affine", description="coupling layer")
    scale_floor: float = Field(
        0.0, ge=0, lt=1, description="smallest scale of an affine coupling; above 0, the inverse is bounded"
    )
    LU_decomposed: bool = Field(False, description="parametrise the 1x1 convolutions by their LU factors")
    learn_top: bool = Field(False, description="learn mean and scale of the top prior")
    y_condition: bool = Field(False, description="condition the top prior on the class")
    y_weight: float = Field(0.01, ge=0, description="weight of the class head's cross-entropy in the loss")
    num_classes: int | None = Field(None, ge=2, description="number of classes; null: the source's")
    n_bits: int | None = Field(None, ge=1, le=8, description="bits per channel; null: the source's (8; digits has 4)")

    def size(self, image_shape: tuple[int, int, int]) -> FlowSize:
        """Return the numbers that decide how much memory the flow takes on images of (C, H, W)."""
        return FlowSize(image_shape, self.K, self.L, self.hidden_channels, affine=self.flow_coupling != "additive")
