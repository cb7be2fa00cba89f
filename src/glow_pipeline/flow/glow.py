"""The complete flow: L levels of squeeze, K steps and split (Glow, figure 2b)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from glow_pipeline.flow.actnorm import ActNorm, initialize_from_data
from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.flow.fast import passes
from glow_pipeline.flow.fast.execution import Execution, float32_convolutions
from glow_pipeline.flow.level import Level
from glow_pipeline.flow.prior import SplitPrior, TopPrior, standard_normal_log_prob
from glow_pipeline.flow.step import FlowPermutation, FlowStep


class TopLatent(NamedTuple):
    """A batch before the top prior."""

    eps: list[Tensor]  # the standardised latents of the splits, finest first
    z: Tensor  # (B, C, H, W), the latent that is left for the top prior
    logdet: Tensor  # (B,), of the map from x to (eps, z)


class LevelTrace(NamedTuple):
    """One level in a pass over a batch; the sum of all levels' log_prob and logdet is the log-density of x."""

    eps: Tensor  # (B, C, H, W), the standardised latent: N(0, 1) under the model
    log_prob: Tensor  # (B,), log-density of the level's latent under its prior
    logdet: Tensor  # (B,), of the level's steps
    log_scale: Tensor  # (B, H, W), the couplings' log-scales over steps and channels, minus the split's log_sd


class Glow(nn.Module):
    """A density of images.

    As a bijection, `forward` takes dequantized images to standard normal latents, one tensor a level.
    As a density, `log_prob` takes the integer images themselves.

    Args:
        image_shape: (C, H, W); 2**L must divide H and W.
        K: steps of flow a level.
        L: levels.
        hidden_channels: width of the coupling networks.
        n_bits: images hold values below 2**n_bits.
        actnorm_scale: standard deviation that actnorms give their channels at initialisation.
        flow_permutation: "invconv" (learned 1x1 convolution), "shuffle" or "reverse".
        flow_coupling: a name in `coupling.COUPLINGS`: "affine" or "additive".
        scale_floor: below this no affine coupling scales, 0 <= scale_floor < 1; additive ones have no scale: 0.
        LU_decomposed: store the 1x1 convolutions as their LU factors.
        learn_top: learn mean and log_sd of the top latent instead of N(0, 1).
        y_condition: let the class shift the top latent's Gaussian.
        num_classes: number of classes; only used with y_condition.
        generator: draws the starting weights; None takes torch's global generator.

    Attributes:
        execution: how the fast path (`fast/`) computes; None: the plain layers compute. None if the couplings have no
            folded form.

    Raises:
        ValueError: 2**L does not divide H and W, or `scale_floor` is not allowed.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        K: int = 8,
        L: int = 3,
        hidden_channels: int = 64,
        *,
        n_bits: int = 8,
        actnorm_scale: float = 1.0,
        flow_permutation: FlowPermutation = "invconv",
        flow_coupling: str = "affine",
        scale_floor: float = 0.0,
        LU_decomposed: bool = False,
        learn_top: bool = False,
        y_condition: bool = False,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        if height % 2**L or width % 2**L:
            raise ValueError(f"image {height}x{width}: L={L} squeezes need sides that {2**L} divides")
        self.image_shape = (channels, height, width)
        self.dimensions = channels * height * width
        self.y_condition = y_condition
        self.num_classes = num_classes
        self.dequantization = Dequantization(n_bits)

        self.levels = nn.ModuleList()
        self.splits = nn.ModuleList()
        self.latent_shapes: list[tuple[int, int, int]] = []
        for level in range(L):
            channels, height, width = 4 * channels, height // 2, width // 2
            steps = [
                FlowStep(
                    channels,
                    hidden_channels,
                    actnorm_scale=actnorm_scale,
                    flow_permutation=flow_permutation,
                    flow_coupling=flow_coupling,
                    scale_floor=scale_floor,
                    LU_decomposed=LU_decomposed,
                    generator=generator,
                )
                for _ in range(K)
            ]
            self.levels.append(Level(steps))
            if level < L - 1:
                self.splits.append(SplitPrior(channels))
                channels //= 2
            self.latent_shapes.append((channels, height, width))
        self.top = TopPrior(channels, learn_top, num_classes if y_condition else None)
        self.execution = Execution() if self.foldable else None
        self._unchanging = False

    @property
    def foldable(self) -> bool:
        """True if the fast path can compute this flow: all its couplings offer a folded form."""
        return all(level.foldable for level in self._levels)

    # The bijection ---------------------------------------------------------------------------

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """Map dequantized images to latents.

        Args:
            x: (B, C, H, W), in [-1/2, 1/2) for an image.
            y: classes (B,), needed with y_condition.

        Returns:
            eps, one (B, *latent_shapes[i]) for each level, finest first, N(0, 1) under the model; and logdet (B,).
        """
        latent = self.to_top(x)
        eps, logdet = self.top(latent.z, y)
        return [*latent.eps, eps], latent.logdet + logdet

    @float32_convolutions()
    def inverse(self, eps: list[Tensor], y: Tensor | None = None) -> Tensor:
        """Map latents to dequantized images: the inverse of `forward`."""
        x = self.top.inverse(eps[-1], y)
        x = self.levels[-1].inverse(x, self.execution)  # type: ignore[operator]  # a ModuleList forgets the type
        for level, split, eps_split in zip(
            reversed(self.levels[:-1]), reversed(self.splits), reversed(eps[:-1]), strict=True
        ):
            x = level.inverse(split.inverse(x, eps_split), self.execution)  # type: ignore[operator]  # a ModuleList forgets
        return x

    @float32_convolutions()
    def to_top(self, x: Tensor) -> TopLatent:
        """Compute the part of `forward` before the top prior, which alone depends on classes."""
        if self.execution is not None and self.execution.products and torch.is_grad_enabled():
            levels, splits = [level._steps for level in self._levels], cast(list[SplitPrior], list(self.splits))
            return TopLatent(*passes.to_top(levels, splits, x, self.execution))
        # Convolutions of these sizes are faster with the channels last in memory.
        x = x.contiguous(memory_format=torch.channels_last)
        eps = []
        z, logdet = self.levels[0](x, self.execution)
        for split, level in zip(self.splits, self.levels[1:], strict=True):
            z, eps_split, split_logdet = split(z)
            z, level_logdet = level(z, self.execution)
            eps.append(eps_split)
            logdet = logdet + split_logdet + level_logdet
        return TopLatent(eps, z, logdet)

    @torch.no_grad()
    @float32_convolutions()
    def traced(self, x: Tensor) -> tuple[TopLatent, list[LevelTrace]]:
        """Compute `to_top`, with the same bits, and what each level contributes to the log-density, finest first."""
        z, logdet, eps, levels = x.contiguous(memory_format=torch.channels_last), None, [], []
        for split, level in zip(self.splits, self._levels[:-1], strict=True):
            z, level_logdet, log_scale = level.traced(z, self.execution)
            z, eps_split, log_sd = cast(SplitPrior, split).standardized(z)
            split_logdet = -log_sd.flatten(1).sum(dim=1)
            # In the order in which `to_top` adds them, so that the bits are the same.
            logdet = (level_logdet if logdet is None else logdet + level_logdet) + split_logdet
            log_prob = standard_normal_log_prob(eps_split) + split_logdet
            levels.append(LevelTrace(eps_split, log_prob, level_logdet, log_scale - log_sd.sum(dim=1)))
            eps.append(eps_split)
        z, level_logdet, log_scale = self._levels[-1].traced(z, self.execution)
        logdet = level_logdet if logdet is None else logdet + level_logdet
        levels.append(LevelTrace(self.top.standardized(z), self.top.log_prob(z), level_logdet, log_scale))
        return TopLatent(eps, z, logdet), levels

    # The density -----------------------------------------------------------------------------

    def log_prob(self, images: Tensor, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the log-probability of integer images, in nats, shape (B,).

        It is the variational lower bound of uniform dequantization, with one draw of noise.

        Args:
            images: uint8 (B, C, H, W) below 2**n_bits.
            noise: the same shape, uniform in [0, 1).
            y: classes (B,). Without them a class-conditioned model returns log p(image), with equally likely classes.
        """
        x, dequantization_logdet = self.dequantization.forward(images, noise)
        return self.log_density(self.to_top(x), y) + dequantization_logdet

    def log_density(self, latent: TopLatent, y: Tensor | None = None) -> Tensor:
        """Return the log-density of the dequantized images that `to_top` mapped to `latent`, in nats, shape (B,)."""
        log_prob = self.top.log_prob(latent.z, y) + latent.logdet
        for eps in latent.eps:
            log_prob = log_prob + standard_normal_log_prob(eps)
        return log_prob

    def bits_per_dim(self, log_prob: Tensor) -> Tensor:
        """Convert log-probabilities in nats, any shape, to bits per dimension: -log_prob / (C H W log 2)."""
        return -log_prob / (self.dimensions * math.log(2))

    @contextmanager
    def unchanging(self) -> Iterator[None]:
        """Fold the parameters, their determinants and inverses once for all passes without gradients in this block.

        The parameters must not change within it. A block within such a block folds nothing.
        """
        if self._unchanging:
            yield
            return
        self._unchanging = True
        for level in self._levels:
            level.prepare()
        try:
            yield
        finally:
            self._unchanging = False
            for level in self._levels:
                level.forget()

    # Sampling --------------------------------------------------------------------------------

    def draw_latents(self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Draw n standard normal latents, one (n, *latent_shapes[i]) for each level, on the generator's device."""
        return [
            torch.randn(n, *shape, generator=generator, device=generator.device, dtype=dtype)
            for shape in self.latent_shapes
        ]

    @torch.no_grad()
    def decode(self, eps: list[Tensor], temperature: float = 1.0, y: Tensor | None = None) -> Tensor:
        """Map latents times temperature to uint8 images (B, C, H, W) below 2**n_bits."""
        return self.dequantization.inverse(self.inverse([temperature * e for e in eps], y))

    # Initialisation --------------------------------------------------------------------------

    @property
    def initialized(self) -> bool:
        """True if all actnorms have been set from data."""
        return all(bool(m.initialized) for m in self.modules() if isinstance(m, ActNorm))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set every actnorm from dequantized training images x (B, C, H, W).

        Raises:
            ValueError: the model has been initialised before.
        """
        if self.initialized:
            raise ValueError("initialize: this model has been initialised before")
        execution, self.execution = self.execution, None  # actnorms take their statistics in the plain layers
        try:
            with initialize_from_data(self):
                self.to_top(x)
        finally:
            self.execution = execution

    @property
    def _levels(self) -> list[Level]:
        return cast(list[Level], list(self.levels))
