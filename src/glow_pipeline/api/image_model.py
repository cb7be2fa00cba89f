"""A trained model for Python: three lines draw images, and score a person's own."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.api.batches import GivenBatches, Rows
from glow_pipeline.api.classes import Classes, classes_of
from glow_pipeline.api.export import export
from glow_pipeline.api.images import Images
from glow_pipeline.density import ModelledBatch, modelled_batches, pass_threads, scoring_batch
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.outliers.scores.nll import NegativeLogLikelihood
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.outliers.scoring import scores_of
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import sampling_threads
from glow_pipeline.sampling.decoding import Decoded
from glow_pipeline.sampling.decoding import decode as decode_latents
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.verdict.image_detector import DEFAULTS, ImageDetector
from glow_pipeline.verdict.image_inputs import (
    AT_ONCE,
    Given,
    ImageInput,
    OneImage,
    given_images,
)
from glow_pipeline.verdict.judge import Explanation, Judge
from glow_pipeline.verdict.load import find_detector

NLL = NegativeLogLikelihood()
TEMPERATURE = 0.7  # that of `sample.temperature`

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class ImageModel:
    """A trained flow with its record. `load_model` makes one.

    Images are given as `given_images` takes them: files, arrays, or Pillow's images, one or many. Those of other sizes,
    colours and grey levels than the model's are prepared as the pipelines prepare files, which is logged.

    Attributes:
        trained: the flow, in evaluation mode on `device`, and its record.
        device: where to compute.
        path: the file that it was read from, beside which its detectors are found.
    """

    trained: TrainedGlow
    device: torch.device
    path: Path

    def __repr__(self) -> str:
        record, bits = self.record, self.record.val_bits_per_dim
        given_class = " given their class" if self.flow.y_condition else ""
        measured = "" if bits is None else f", {bits:.3f} bits/dim on validation images{given_class}"
        return f"ImageModel({record.dataset}, {record.image_format.key}{measured}, {self.device.type})"

    @property
    def record(self) -> ModelRecord:
        """Dataset, image format, parameters, commit and versions of the run that trained the model."""
        return self.trained.record

    @property
    def flow(self) -> Glow:
        """The flow: `flow.log_prob`, `flow.inverse` and the levels, for one's own research."""
        return self.trained.flow

    # Samples ---------------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        *,
        temperature: float = TEMPERATURE,
        y: Classes | None = None,
        seed: int = 0,
    ) -> Images:
        """Draw images: those that `sample.mode=normal` shows for the same `sample.n`, seed, temperature and class.

        Equal arguments give equal images on one device.

        Args:
            n: number of images.
            temperature: factor on the latents; lower is more typical and less varied.
            y: class of a class-conditioned model, by number or name, or one for each image; None: the classes in turn.
            seed: seed of the draw.

        Raises:
            GlowPipelineError: n is no whole number from 1 on, the temperature negative, or there is no such class.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise GlowPipelineError(f"n={n!r}: give a whole number, 1 or more")
        classes = classes_of(self.trained, y, n)
        latents = self.flow.draw_latents(n, generator(seed, "sample", 0, self.device))
        return self._decoded(latents, temperature, classes)

    def decode(
        self,
        latents: Sequence[Tensor | NDArray[np.floating]],
        *,
        temperature: float = 1.0,
        y: Classes | None = None,
    ) -> Images:
        """Map latents to images: the inverse of `encode`.

        Args:
            latents: one (n, *shape) for each level, finest first, as `encode` returns them, or as arrays.
            temperature: factor on them.
            y: as `sample` takes it.

        Raises:
            GlowPipelineError: the latents have other shapes, or as `sample`.
        """
        shapes = [tuple(latent.shape[1:]) for latent in latents]
        if shapes != self.flow.latent_shapes or len({len(latent) for latent in latents}) != 1 or not len(latents[0]):
            raise GlowPipelineError(
                f"latents: shapes {[tuple(latent.shape) for latent in latents]}; give one tensor (n, *shape) for each "
                f"of {self.flow.latent_shapes}"
            )
        classes = classes_of(self.trained, y, len(latents[0]))
        on_device = [torch.as_tensor(latent, dtype=torch.float32, device=self.device) for latent in latents]
        return self._decoded(on_device, temperature, classes)

    def _decoded(self, latents: Sequence[Tensor], temperature: float, y: Tensor | None) -> Images:
        if not (temperature >= 0 and math.isfinite(temperature)):
            raise GlowPipelineError(f"temperature={temperature}: give 0 or more")
        flow, n = self.flow, len(latents[0])
        size = scoring_batch(flow)
        parts: list[Decoded] = []
        with (
            sampling_threads(flow, min(n, size), math.ceil(n / size)),
            flow.unchanging(),
            tqdm(total=n, desc="sample", unit="img", delay=2, leave=False) as bar,
        ):
            for start in range(0, n, size):
                rows = slice(start, start + size)
                of_rows = None if y is None else y[rows].to(self.device)
                drawn = decode_latents(flow, [latent[rows] for latent in latents], temperature, of_rows)
                parts.append(Decoded(flow.dequantization.expand(drawn.images).cpu(), drawn.broken.cpu()))
                bar.update(len(drawn.images))
        images, broken = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        if broken.any():
            logger.warning(
                "%d of %d images are not finite, since the flow's inverse overflows on them: they are black, and "
                "`broken` marks them; lower the temperature.",
                *(int(broken.sum()), n),
            )
        channels_last = images.permute(0, 2, 3, 1) if images.shape[1] == 3 else images[:, 0]
        return Images(np.ascontiguousarray(channels_last.numpy()), broken.numpy())

    # The density -----------------------------------------------------------------------------

    @torch.no_grad()
    def bits_per_dim(self, images: ImageInput, *, seed: int = 0) -> Numbers:
        """Return the negative log-likelihood of each image in bits per dimension, float64 (n,), in their order.

        It is the column `nll_bits_per_dim` of the pipeline `ood` at its defaults: the noise of dequantization depends
        on the seed and the image's pixels alone. Infinite where the flow overflows; NaN for a file that cannot be read,
        with a warning. Of a class-conditioned model it is that of the mixture of all classes.

        Args:
            images: as `given_images` takes them; of a folder the files come in the order of `score`'s listing.
            seed: seed of the noise.

        Raises:
            GlowPipelineError: there is no image, or one of another type or shape.
        """
        given = given_images(images, self.record.image_format.channels)
        values = np.full(len(given), np.nan)
        for rows, batch in self._modelled(given, seed, skip_unreadable=True):
            values[rows] = scores_of(NLL, NLL.describe(batch).cpu().numpy()[:, None])
        return values

    @torch.no_grad()
    def encode(self, images: ImageInput, *, y: Classes | None = None, seed: int = 0) -> list[Tensor]:
        """Map images to latents: float32 (n, *shape) for each level, finest first, N(0, 1) under the model, on the CPU.

        `decode` of them gives the prepared images back. The noise is that of `bits_per_dim`.

        Args:
            images: as `given_images` takes them; all of their latents are in memory at once.
            y: of a class-conditioned model the class of all images, or one for each; needed there.
            seed: seed of the noise.

        Raises:
            GlowPipelineError: as `bits_per_dim`, or a file cannot be read, or the classes are missing.
        """
        if self.flow.y_condition and y is None:
            raise GlowPipelineError("y=None: this model is conditioned on classes; give the class of each image")
        given = given_images(images, self.record.image_format.channels)
        classes = classes_of(self.trained, y, len(given))
        parts: list[list[Tensor]] = []
        for rows, batch in self._modelled(given, seed, skip_unreadable=False):
            of_rows = None if classes is None else classes[rows].to(self.device)
            x, _ = self.flow.dequantization.forward(batch.images, batch.noise)
            parts.append([latent.cpu() for latent in self.flow(x, of_rows)[0]])
        return [torch.cat(level) for level in zip(*parts, strict=True)]

    def _modelled(self, given: Given, seed: int, *, skip_unreadable: bool) -> Iterator[tuple[Rows, ModelledBatch]]:
        """Yield batches of given images with their noise, each with the images' positions."""
        batches = GivenBatches(given, self.record.image_format, self.device, skip_unreadable)
        with pass_threads(self.flow, AT_ONCE, len(given)):
            for batch in modelled_batches(self.flow, batches, seed, None):
                yield batches.rows.pop(0), batch

    # Verdicts --------------------------------------------------------------------------------

    @cached_property
    def detector(self) -> ImageDetector:
        """The model with its newest detector, for verdicts by the recommended score; `load_detector` has more choice.

        Raises:
            GlowPipelineError: the model has no detector.
        """
        return ImageDetector(Judge(self.trained, read_detector(find_detector(self.path)), self.device))

    def score(
        self,
        images: ImageInput,
        *,
        false_alarm_rate: float = DEFAULTS.false_alarm_rate,
        false_discovery_rate: float = DEFAULTS.false_discovery_rate,
    ) -> pd.DataFrame:
        """Return the table of verdicts on images, as `ImageDetector.score`."""
        return self.detector.score(images, false_alarm_rate=false_alarm_rate, false_discovery_rate=false_discovery_rate)

    def explain(self, image: OneImage, n_nearest: int = 3) -> Explanation:
        """Return reason, surprise of each pixel and nearest calibration images of one image, as `ImageDetector`."""
        return self.detector.explain(image, n_nearest)

    # Export ----------------------------------------------------------------------------------

    def export(self, path: str | Path) -> Path:
        """Write the scoring pass to a file that runs without this package, and return its path.

        The program maps images, uint8 (n, C, H, W) below 2**n_bits, and noise, float32 of the same shape in [0, 1), to
        log p(x) in nats, float32 (n,), as `flow.log_prob`; n may be any number.

        Args:
            path: ends with `.pt2`, to be loaded by `torch.export.load`, or with `.onnx`, which needs the packages of
                the extra `onnx`.

        Raises:
            GlowPipelineError: another ending, packages are missing, or the file cannot be written.
        """
        return export(self.trained, Path(path).expanduser())
