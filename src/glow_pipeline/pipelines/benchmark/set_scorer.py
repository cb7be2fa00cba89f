"""Scores of sets by one model, each set once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL
import torch

from glow_pipeline.device import describe_device, resolve_device
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.benchmark.changed_images import ChangedImages
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from glow_pipeline.outliers.benchmark.in_sets import InSets, draw, in_sets
from glow_pipeline.outliers.benchmark.out_sets import CALIBRATION, Kind
from glow_pipeline.outliers.benchmark.scored_pair import ScoredPair
from glow_pipeline.outliers.benchmark.scored_sets import ScoredSets, code_digest
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.parameters import Parameters
from glow_pipeline.pipelines.ood.nodes import score_images, select_in_images, select_out_images
from glow_pipeline.training.models_with_detectors import ModelWithDetector


@dataclass(frozen=True)
class SetScorer:
    """A model with the test images of its own dataset, and the scores of other sets by it.

    Attributes:
        subject: the model and its detector.
        other_models: the models that some scores compare it with.
        test_images: test images of the model's dataset.
        folder: of the stored scores of all benchmarks of the command's dataset.
        parameters: of the command.
    """

    subject: ModelWithDetector
    other_models: OtherModels
    test_images: ImageTable
    folder: Path
    parameters: Parameters

    def pair(self, name: str, kind: Kind, out_images: ImageTable | None = None) -> ScoredPair:
        """Score a set, and the model's own test images if this is the first, and return the pair of both.

        Args:
            name: name of the set.
            kind: kind of the pair.
            out_images: test images of a published set; None for changed images and controls.
        """
        inside, seed, rows = self._in_sets, self.parameters.seed, self._in_sets.in_first_half
        outside: Path | Mapping[str, Numbers]
        if name == CALIBRATION:
            outside = self.subject.detector.calibration
        elif out_images is None:
            outside = self._file(name, ChangedImages(inside.originals, CHANGES[name], seed))
        else:
            unseen, _ = select_out_images(*self.subject, self.other_models, out_images, self._unseen)
            outside = self._file(name, draw(unseen, self.parameters.benchmark.n_images, seed))
        changed = name in CHANGES
        return ScoredPair(
            in_dataset=self._name,
            out_dataset=name,
            kind=kind,
            made_with=self._made_with,
            in_file=self._file(self._name, inside.scored),
            in_rows=rows if changed else np.ones_like(rows),
            outside=outside,
        )

    def _file(self, name: str, images: ImageTable) -> Path:
        """Return the path of a set's scores, which are computed unless they are stored."""
        given = self.parameters
        return self._stored.score(
            name,
            images,
            lambda: score_images(
                *self.subject, self.other_models, images, given.ood, given.train, given.seed, given.device
            ),
        )

    @cached_property
    def _unseen(self) -> ImageTable:
        given = self.parameters.model_dump()
        unseen, _ = select_in_images(*self.subject, self.other_models, self.test_images, given)
        return unseen

    @cached_property
    def _in_sets(self) -> InSets:
        return in_sets(self._unseen, self.parameters.benchmark.n_images, self.parameters.seed)

    @cached_property
    def _stored(self) -> ScoredSets:
        ood = self.parameters.ood
        depends_on = {
            "detector": self.subject.detector.record.model_dump(mode="json"),
            "other_models": self.other_models.record(),
            "scores": ood.score_names,
            "draws": ood.draws,
            "batch_size": ood.batch_size,
            "seed": self.parameters.seed,
            "device": describe_device(resolve_device(self.parameters.device)),
            "codecs": codec_versions(),
            "libraries": {"pillow": PIL.__version__, "torch": torch.__version__},
            "code": code_digest(SCORES[name] for name in ood.score_names),
        }
        return ScoredSets(self.folder, str(self._made_with["model"]), depends_on)

    @property
    def _name(self) -> str:
        return self.subject.model.record.dataset

    @property
    def _made_with(self) -> dict[str, object]:
        record = self.subject.model.record
        return {
            "model": record.provenance.kedro_session,
            "seed": record.parameters["seed"],
            "detector": self.subject.detector.record.version,
        }


def without_other_models(parameters: Parameters) -> Parameters:
    """Return the parameters without scores that compare with other models; at least the likelihood stays."""
    names = [name for name in parameters.ood.score_names if SCORES[name].needs is None]
    ood = parameters.ood.model_copy(update={"scores": names or ["nll"], "score": None})
    return parameters.model_copy(update={"ood": ood})
