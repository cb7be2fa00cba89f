"""A training task: everything that one training needs."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256, typed_path
from glow_pipeline.images.content_sets import distinct
from glow_pipeline.images.parts import CalibrationImages, Parts
from glow_pipeline.images.rows import random_order
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import Parameters, with_complete_batches
from glow_pipeline.provenance import Provenance
from glow_pipeline.randomness import generator
from glow_pipeline.tracking.runs import RunAddress
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.named_model import first_model
from glow_pipeline.training.resume import ClaimedTraining
from glow_pipeline.training.same_origin import check_same_origin


def no_hashes() -> NDArray[np.int64]:
    """Return the content hashes of no image."""
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class TrainingTask:
    """Everything that one training needs. Picklable: image tables are pickled as paths.

    Attributes:
        fit_images: images to train on.
        val_images: images to validate each epoch on, or some of them on.
        parameters: all parameters of the command.
        provenance: the run that trains.
        folder: where its checkpoints are; None on a machine that writes none.
        start: the checkpoint to resume from.
        mlflow_run: the MLflow run that takes its metrics; None: none does.
        calibration_images: images held out for calibration, for the records alone; None: not recorded.
        test_images: images held out for testing, for the records.
        seen_before: content hashes of the training images of the model of `train.checkpoint`; None: unknown.
        prints_summary: whether a summary is printed before it starts.
        keeps_samples: whether samples are kept beside its checkpoints.
    """

    fit_images: ImageTable
    val_images: ImageTable
    parameters: Parameters
    provenance: Provenance
    folder: Path | None = None
    start: Path | None = None
    mlflow_run: RunAddress | None = None
    calibration_images: CalibrationImages | None = None
    test_images: ImageTable | None = None
    seen_before: NDArray[np.int64] | None = field(default_factory=no_hashes)
    prints_summary: bool = True
    keeps_samples: bool = True

    def claimed(self, training: ClaimedTraining) -> Self:
        """Return the task of starting or resuming a claimed training.

        Raises:
            GlowPipelineError: it started with other images, or from another model.
        """
        folder, start = training.folder, training.start
        if start is not None:
            check_same_origin(
                start.record.train_table,
                self.fit_images.record,
                subject=f"{start.path}: its training started with",
                remedy="or start a new one with train.resume=never",
            )
            self._check_first_model(start)
        return replace(
            self, folder=None if folder is None else folder.path, start=None if start is None else start.path
        )

    def _check_first_model(self, start: Checkpoint) -> None:
        """Check that the file of `train.checkpoint` is that of the start: `seen_before` is read from it."""
        train = self.parameters.train
        now, before = first_model(train), start.record.started_from
        if now is not None and before is not None and not before.endswith(sha256(now)):
            raise GlowPipelineError(
                f"train.checkpoint={train.checkpoint}: {now} is another model than the one that {start.path} started "
                f"from ({before}); bring that one back, or start a new training with train.resume=never"
            )

    def staged(self) -> Self:
        """Return the task with its images on the disk of `train.stage`, where that is given: copied, or found there.

        Raises:
            GlowPipelineError: they do not fit there, or are damaged where they are.
        """
        if (stage := self.parameters.train.stage) is None:
            self.fit_images.fetch()
            self.val_images.fetch()
            return self
        from glow_pipeline.images.staging import stage_table

        tables = {table.folder: table for table in (self.fit_images, self.val_images)}
        copies = {folder: stage_table(table, typed_path(stage)) for folder, table in tables.items()}
        fit, val = (ImageTable(copies[table.folder], table.rows) for table in (self.fit_images, self.val_images))
        return replace(self, fit_images=fit, val_images=val)

    def in_processes(self, processes: int) -> Self:
        """Return the task with the batches of so many processes, where their size is given for each process."""
        parameters = with_complete_batches(self.parameters, processes)
        return replace(self, parameters=parameters) if parameters is not self.parameters else self

    @property
    def batch_size(self) -> int:
        """Return the images a step, of all processes."""
        return min(self.parameters.train.batch_size, len(self.fit_images))

    @property
    def scored_val_images(self) -> ImageTable:
        """The validation images that are scored after each epoch: all, or `ingest.val_images` of them, in order."""
        most = self.parameters.ingest.val_images
        if most is None or most >= len(self.val_images):
            return self.val_images
        drawn = random_order(len(self.val_images), generator(self.parameters.seed, "val_images"))[:most].copy()
        drawn.sort()
        return self.val_images.subset(drawn)

    @property
    def parts(self) -> Parts | None:
        """Return the parts of the training table; None: its calibration images are not recorded."""
        if self.calibration_images is None:
            return None
        return Parts(self.fit_images, self.val_images, self.calibration_images)

    @property
    def n_images(self) -> dict[str, int]:
        """Return the number of images for each purpose."""
        scored = len(self.scored_val_images)
        after_each_epoch = "" if scored == len(self.val_images) else f" ({scored:,} after each epoch)"
        counts = {"training": len(self.fit_images), f"validation{after_each_epoch}": len(self.val_images)}
        if self.calibration_images is not None and len(self.calibration_images):
            counts["calibration"] = len(self.calibration_images)
        return counts if self.test_images is None else {**counts, "testing": len(self.test_images)}

    @property
    def trained_on(self) -> NDArray[np.int64] | None:
        """Return content hashes of all images that the weights depend on; None: those of the first are unknown."""
        if self.seen_before is None:
            return None
        return distinct([self.fit_images.stored_hashes, self.val_images.stored_hashes, self.seen_before])

    @property
    def calibration(self) -> NDArray[np.int64] | None:
        """Return content hashes of the calibration images; None: not recorded."""
        return None if self.calibration_images is None else distinct([self.calibration_images.table.stored_hashes])
