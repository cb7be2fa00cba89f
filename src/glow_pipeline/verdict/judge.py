"""A model with its detector, which judges images: the one place where `score`, serving and Python get their figures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import modelled_batches, pass_threads
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.batches import Batch
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.transfer import to_device
from glow_pipeline.outliers.conformal.p_values import as_outlying, p_values
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.kept_images import nearest
from glow_pipeline.outliers.reasons import Reasons
from glow_pipeline.outliers.scores.registry import RECOMMENDED
from glow_pipeline.outliers.scores.score import Numbers, Score
from glow_pipeline.outliers.scoring import Describer, described_batches, scores_of
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow

NO_IMAGES = np.empty((0, 1, 1, 1), dtype=np.uint8)
REPAIR = "make a new one: kedro run --pipelines calibrate --params dataset=<the model's>"


class Judged(NamedTuple):
    """Verdicts on a batch of images."""

    content_hashes: NDArray[np.int64]  # (B,), of the prepared images
    scores: Mapping[str, Numbers]  # column of a score -> (B,), the main one first
    p_values: Numbers  # (B,), conformal, of the main score
    as_outlying: NDArray[np.int64]  # (B,), calibration images that score at least as high by the main score
    reasons: list[str]  # one sentence an image


class Explanation(NamedTuple):
    """The reason for the verdict on one image, the places of it, and similar calibration images."""

    reason: str
    surprise: Numbers  # (H, W) in [0, 1]: share of calibration pixels that are less surprising
    nearest: NDArray[np.uint8]  # (k, C, H, W), the kept calibration images that are most like it, nearest first


@dataclass(frozen=True)
class Judge:
    """Judges images by the calibration images of a detector.

    Attributes:
        model: the model; its flow is on `device`, in evaluation mode.
        detector: of this model; its seed and draws are used, so that scores are comparable with its calibration scores.
        device: where to compute.
        scores: names of the scores to compute; the first carries the verdict.
    """

    model: TrainedGlow
    detector: Detector
    device: torch.device
    scores: Sequence[str] = (RECOMMENDED,)

    def __post_init__(self) -> None:
        """Check that model, detector, scores and codecs belong together.

        Raises:
            GlowPipelineError: they do not, or the detector has no calibration images.
        """
        detector, record = self.detector, self.detector.record
        detector.check_model(weights_sha256(self.model.flow.state_dict()))
        missing = [name for name in self.scores if name not in detector.calibration]
        if missing:
            raise GlowPipelineError(
                f"score: {', '.join(missing)}: not in detector {record.version}, which has "
                f"{', '.join(detector.calibration) or 'no score'}; choose one of these, or {REPAIR}"
            )
        if not len(self.calibration):
            raise GlowPipelineError(
                f"score: detector {record.version} has no calibration images to compare with; {REPAIR}"
                f",calibrate.path=<folder>"
            )
        if record.codecs != codec_versions():  # of the scores, and of the reasons in any case
            raise GlowPipelineError(f"score: {record.other_codecs(codec_versions())}; {REPAIR}")

    @property
    def requested(self) -> list[Score]:
        """The scores, fitted where they have to be, the main one first."""
        return self.detector.requested(self.scores)

    @property
    def main(self) -> Score:
        """The score that carries the verdict."""
        return self.requested[0]

    @property
    def calibration(self) -> Numbers:
        """The main score of the calibration images, in rising order."""
        return self.detector.calibration[self.main.name]

    @property
    def image_format(self) -> ImageFormat:
        """The format of the images that `judged` and `explained` take."""
        return self.model.record.image_format

    def threads(self, batch_size: int, total: int, fixed: int | None = None) -> AbstractContextManager[None]:
        """Have a CPU judge images inside the block with the number of threads that a short measurement finds best.

        Args:
            batch_size: images that are judged at once.
            total: number of images.
            fixed: the number, if it is not to be chosen.
        """
        return pass_threads(self.model.flow, batch_size, total, fixed)

    def judged(self, images: Iterable[Tensor]) -> Iterator[Judged]:
        """Judge batches of prepared images, uint8 (B, C, H, W) below 2**n_bits on any device, one after the other.

        A score depends on the batch that an image is in by its last bits at most, and not on what comes before it. An
        image alone, whose products on a CPU would be of vectors, is judged twice at once.
        """
        hashes: list[NDArray[np.int64]] = []  # of batches that were read and not yet judged

        def batches() -> Iterator[Batch]:
            for batch in images:
                hashes.append(content_hash(batch).cpu().numpy())
                if len(batch):
                    yield self._batch(batch.expand(2, *batch.shape[1:]) if len(batch) == 1 else batch)

        reasons, record = self.detector.reasons or Reasons(), self.detector.record
        describers: list[Describer] = [*self.requested, reasons]
        for described in described_batches(self.model.flow, batches(), describers, record.seed, record.draws, None):
            while not len(hashes[0]):
                yield self._nothing(hashes.pop(0))
            if len(hashes[0]) == 1:
                described = {name: numbers[:1] for name, numbers in described.items()}
            scores = {score.column: scores_of(score, described[score.name]) for score in self.requested}
            main = scores[self.main.column]
            n_as_outlying = as_outlying(self.calibration, main)
            yield Judged(
                hashes.pop(0),
                scores,
                p_values(self.calibration, main),
                n_as_outlying,
                reasons.sentences(described[reasons.name], n_as_outlying / len(self.calibration)),
            )
        yield from map(self._nothing, hashes)

    def explained(self, images: Tensor, n_nearest: int = 3) -> list[Explanation]:
        """Explain prepared images, uint8 (B, C, H, W), of which all fit into memory at once.

        Raises:
            GlowPipelineError: the detector has no heat map.
        """
        heat_map, record = self.detector.heat_map, self.detector.record
        if heat_map is None:
            raise GlowPipelineError(f"score: detector {record.version} has no heat map; {REPAIR}")
        if not len(images):
            return []
        (traced,) = modelled_batches(self.model.flow, [self._batch(images)], record.seed, None, traces=True)
        surprise = heat_map.surprise(traced)
        (judged,) = self.judged([images])
        return [
            Explanation(reason, of_pixels, nearest(self.detector.kept_images, image, n_nearest))
            for reason, of_pixels, image in zip(judged.reasons, surprise, images.cpu().numpy(), strict=True)
        ]

    def to_send(self) -> Self:
        """Return the judge as other processes need it for `judged`: small, and on the CPU until they place it."""
        no_hashes = np.empty(0, dtype=np.int64)
        flow = self.model.flow if self.device.type == "cpu" else deepcopy(self.model.flow).cpu()
        model = replace(self.model, flow=flow, trained_on=no_hashes, calibration=no_hashes)
        detector = replace(
            self.detector,
            validation_hashes=no_hashes,
            calibration_hashes=no_hashes,
            heat_map=None,
            kept_images=NO_IMAGES,
        )
        return replace(self, model=model, detector=detector)

    def at(self, index: int) -> Self:
        """Return the judge with its flow on the device of its kind that has this number."""
        if self.device.type == "cuda":
            device = torch.device("cuda", index)
            self.model.flow.to(device)
            return replace(self, device=device)
        return self

    def _batch(self, images: Tensor) -> Batch:
        labels = torch.zeros(len(images), dtype=torch.int64, device=self.device)  # which no score uses
        return Batch(to_device(images, self.device), labels)

    def _nothing(self, hashes: NDArray[np.int64]) -> Judged:
        """Return the verdicts on an empty batch."""
        none = np.empty(0)
        return Judged(hashes, {score.column: none for score in self.requested}, none, none.astype(np.int64), [])
