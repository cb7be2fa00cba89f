"""Scores of sets by one model, each set once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from glow_pipeline.device import describe_device, resolve_device
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.benchmark.changed_images import ChangedImages
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from glow_pipeline.outliers.benchmark.in_sets import InSets, draw, in_sets
from glow_pipeline.outliers.benchmark.out_sets import CALIBRATION, Kind
from glow_pipeline.outliers.benchmark.scored_pair import ScoredPair
from glow_pipeline.outliers.benchmark.scored_sets import ScoredSets, scores_depend_on, store_set
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.parameters import Parameters
from glow_pipeline.pipelines.ood.nodes import select_in_images, select_out_images
from glow_pipeline.pipelines.scoring import carry_out, scoring_work
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
    _sets: dict[Path, ImageTable] = field(default_factory=dict)

    def pair(self, name: str, kind: Kind, out_images: ImageTable | None = None) -> ScoredPair:
        """Return the pair of the model's own test images and a set; `score` computes their scores.

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

    def score(self) -> None:
        """Score the sets of all pairs so far whose scores no earlier command has stored.

        Commands that share the work share the images of all sets; one command stores a set before it begins the next.

        Raises:
            HelperFinished: this command has done its share, and parts of others are missing.
        """
        given = self.parameters
        missing = [(path, images) for path, images in self._sets.items() if not path.exists()]
        one_by_one = given.workers.engine == "processes"
        for sets in [[each] for each in missing] if one_by_one else [missing] if missing else []:
            tables = [images for _, images in sets]
            work = scoring_work(
                *self.subject,
                self.other_models,
                tables,
                self._stored.parts,
                given.ood,
                given.train,
                given.seed,
                given.device,
                given.workers,
            )
            scored = carry_out(work, self.folder, given.ood.devices, given.workers)
            for (path, _), scores, parts in zip(sets, scored, work.stores, strict=True):
                store_set(path, scores)
                if given.workers.engine != "array":  # of several commands another one may read them now
                    parts.delete()

    def _file(self, name: str, images: ImageTable) -> Path:
        """Return the path of a set's scores, which `score` computes."""
        path = self._stored.path(name, images)
        self._sets[path] = images
        return path

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
        given, ood = self.parameters, self.parameters.ood
        depends_on = scores_depend_on(
            self.subject.detector,
            self.other_models,
            ood.score_names,
            seed=given.seed,
            draws=ood.draws,
            device=describe_device(resolve_device(given.device)),
        )
        depends_on["batch_size"] = ood.batch_size
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
