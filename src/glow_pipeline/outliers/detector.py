"""A detector: the fitted scores of one model, and their values of the calibration images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.content_sets import distinct
from glow_pipeline.images.file_formats import FileFormats
from glow_pipeline.images.table import ImageTable, TableOrigin
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap
from glow_pipeline.outliers.reasons import Reasons
from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.outliers.scores.score import FittedScore, Numbers, Score
from glow_pipeline.provenance import Provenance

Hashes = NDArray[np.int64]
Images = NDArray[np.uint8]


class UsedImages(BaseModel):
    """The record of the images that scores were fitted on or calibrated with.

    Attributes:
        count: their number.
        sha256: digest of their sorted content hashes.
        origin: source files, with checksums, and preparation of the table that they are a part of; None: no images.
        table_count: number of images in that table.
        file_formats: formats of the files or arrays that the table's images are from; None: unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = 0
    sha256: str = ""
    origin: TableOrigin | None = None
    table_count: int = 0
    file_formats: FileFormats | None = None

    @classmethod
    def of(cls, images: ImageTable) -> Self:
        """Return the record of these images."""
        hashes = np.sort(images.content_hashes).astype("<i8")
        return cls(
            count=len(images),
            sha256=hashlib.sha256(hashes.tobytes()).hexdigest(),
            origin=images.record.origin,
            table_count=images.record.count,
            file_formats=images.record.file_formats,
        )


class DetectorRecord(BaseModel):
    """The record of a detector: its model, the images that fitted and calibrated it, and the run that made it.

    Attributes:
        model_sha256: digest of the model's weights.
        model_session: the session that trained the model; None: unknown.
        validation: images that scores are fitted on.
        calibration: images that no score is fitted on.
        copies_left_out: number of images of `calibrate.path` that were left out as copies of training images.
        seed: seed of the dequantization noise and of the fits.
        draws: draws of the noise over which the images' numbers are averaged.
        codecs: versions, by name, of the libraries that compressed the images.
        parameters: all parameters of the run, after validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_sha256: str
    model_session: str | None = None
    validation: UsedImages = UsedImages()
    calibration: UsedImages = UsedImages()
    copies_left_out: int = 0
    seed: int = 0
    draws: int = 1
    codecs: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    provenance: Provenance = Provenance()

    @property
    def version(self) -> str | None:
        """The version that the detector was saved as, wherever its file is now; None: it was not saved."""
        return self.provenance.kedro_session

    def other_codecs(self, here: Mapping[str, str]) -> str:
        """Say that the compressed sizes of the detector's images are by other codecs than those that are here."""
        return (
            f"detector {self.version} was fitted with compressed sizes by {_listed(self.codecs)}, and here is "
            f"{_listed(here)}"
        )

    @property
    def n_validation(self) -> int:
        """The number of images that scores are fitted on."""
        return self.validation.count

    @property
    def calibration_files(self) -> FileFormats | None:
        """The formats of the files or arrays that the calibration images are from; None: unknown."""
        return self.calibration.file_formats

    @property
    def n_calibration(self) -> int:
        """The number of calibration images."""
        return self.calibration.count


def _listed(codecs: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({libraries})" for name, libraries in codecs.items()) or "no codec"


def _no_hashes() -> Hashes:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Detector:
    """The scores of one model.

    Attributes:
        scores: by name; those that are fitted on validation images are fitted.
        calibration: name of a score -> its values of the calibration images (n,), sorted.
        validation_hashes, calibration_hashes: content hashes of both kinds of images (n,), sorted.
        heat_map, reasons: as fitted and calibrated; None: the detector was made without.
        kept_images: calibration images that are shown beside suspicious ones, uint8 (k, C, H, W) below 2**n_bits.
    """

    scores: Mapping[str, Score]
    calibration: Mapping[str, Numbers]
    record: DetectorRecord
    validation_hashes: Hashes = field(default_factory=_no_hashes)
    calibration_hashes: Hashes = field(default_factory=_no_hashes)
    heat_map: HeatMap | None = None
    reasons: Reasons | None = None
    kept_images: Images = field(default_factory=lambda: np.empty((0, 1, 1, 1), dtype=np.uint8))

    @classmethod
    def without_scores(cls, model_sha256: str) -> Self:
        """Return the detector of a model for which none is stored: scores that are not fitted need no other."""
        return cls({}, {}, DetectorRecord(model_sha256=model_sha256))

    def seen_with(self, trained_on: Hashes | None) -> Hashes | None:
        """Return the content hashes of all images that model and detector know; None: those of the model are unknown.

        Args:
            trained_on: content hashes of the images that the model was trained on.
        """
        if trained_on is None:
            return None
        return distinct([trained_on, self.validation_hashes, self.calibration_hashes])

    def check_model(self, model_sha256: str) -> None:
        """Check that the detector is of the model with this digest.

        Raises:
            GlowPipelineError: it is of another one.
        """
        if self.record.model_sha256 != model_sha256:
            raise GlowPipelineError(
                f"glow_detector: detector {self.record.version} is of model {self.record.model_session}, and not of "
                f"the one in use; let fit_detector and calibrate_detector run too, which make one of that"
            )

    def requested(self, names: Sequence[str]) -> list[Score]:
        """Return the scores of these names.

        Raises:
            GlowPipelineError: one has to be fitted and is not.
        """
        unfitted = [name for name in names if needs_fit(name) and name not in self.scores]
        if unfitted:
            raise GlowPipelineError(
                f"ood.scores={'+'.join(unfitted)}: not fitted in detector {self.record.version}; let the pipeline "
                f"calibrate run with these ood.scores"
            )
        return [self.scores.get(name, SCORES[name]) for name in names]


def needs_fit(name: str) -> bool:
    """Return whether a registered score is fitted on validation images."""
    return isinstance(SCORES[name], FittedScore)
