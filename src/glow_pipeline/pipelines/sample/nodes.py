"""From a trained model to pictures."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import position, positions
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.examples import draw_examples
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.rows import as_array
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.split_images import SplitImages
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import Parameters, SampleParameters, TrainParameters
from glow_pipeline.pipelines.planning import plan_images
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import MODES, LabelledImages, RealImages, SampleRequest, TrainingImages, sampling_threads
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.unseen import check_known, check_same_images

logger = logging.getLogger(__name__)


def read_real_images(
    glow_model: TrainedGlow,
    image_selection: ImageSelection,
    image_format: ImageFormat,
    raw_folder: Path,
    parameters: Parameters,
    folder_looks: FolderLooks,
) -> RealImages:
    """Draw the test images that `sample.mode` starts from, and open the training images if it uses them."""
    mode, ingest = MODES[parameters.sample.mode], parameters.ingest

    def plan(split: Split) -> TableWriter:
        return plan_images(image_selection, split, image_format, raw_folder, ingest, folder_looks)

    real = RealImages.none(image_format.shape)
    if mode.least_test_images:
        real = replace(real, test=_test_images(glow_model, plan("test"), parameters))
    if mode.uses_training_images:
        real = replace(real, training=_training_images(glow_model, plan("train").images))
    return real


def _test_images(glow_model: TrainedGlow, plan: TableWriter, parameters: Parameters) -> LabelledImages:
    """Draw the test images of a mode.

    Raises:
        GlowPipelineError: there are too few that the model was not trained on.
    """
    sample, mode = parameters.sample, MODES[parameters.sample.mode]
    check_same_images(glow_model.record, plan.origin, chosen=parameters.stored_model is not None)
    check_known(plan.origin, glow_model.trained_on)
    num_classes = glow_model.flow.num_classes if glow_model.flow.y_condition else None
    images, labels = draw_examples(
        plan.images,
        mode.n_test_images(sample.n),
        generator(parameters.seed, "pairs"),
        seen=glow_model.trained_on,
        num_classes=num_classes,
    )
    if len(images) < mode.least_test_images:
        of_classes = "" if num_classes is None else f" of the model's classes 0 to {num_classes - 1}"
        raise GlowPipelineError(
            f"sample.mode={sample.mode}: {plan.origin.image_selection.key} has {len(images)} test images{of_classes} "
            f"that the model was not trained on, and {mode.least_test_images} are needed; give more images, or choose "
            f"another mode"
        )
    return LabelledImages(images, labels)


def _training_images(glow_model: TrainedGlow, images: SplitImages) -> TrainingImages:
    """Return the images of the split that the model was trained on; all of them where that was not recorded."""
    trained_on, rows = glow_model.trained_on, as_array(images.rows)

    def read(places: NDArray[np.int64]) -> Iterator[LabelledImages]:
        for chunk in images.prepared(rows[places]):
            seen = np.full(len(chunk.rows), True)
            if trained_on is not None:
                seen = np.isin(content_hash(chunk.images).numpy(), trained_on)
            yield LabelledImages(chunk.images[seen], torch.from_numpy(images.labels[chunk.rows[seen]]))

    return TrainingImages(images.labels[rows], read)


def sample_images(
    glow_model: TrainedGlow,
    real_images: RealImages,
    sample: SampleParameters,
    train: TrainParameters,
    seed: int,
    device: str,
) -> Figure | Movie:
    """Return the picture of `sample.mode`."""
    flow = glow_model.flow.to(use_device(device))
    class_names = glow_model.record.train_table.class_names
    request = SampleRequest(
        flow,
        glow_model.record.dataset,
        class_names,
        n=sample.n,
        temperature=sample.temperature,
        y=None if sample.y is None else position(sample.y, class_names),
        frames=sample.frames,
        seed=seed,
        real=real_images,
        path=sample.path,
        attribute=None if sample.attribute is None else positions(sample.attribute, class_names),
    )
    mode = MODES[sample.mode]
    with (
        memory_in_one_line(f"sample.n={sample.n}", f"lower it, or sample.frames={sample.frames}"),
        sampling_threads(flow, sample.n, mode.pictures(request), train.threads),
    ):
        picture = mode.draw(request)
    if isinstance(picture, Movie):
        return replace(picture, keep_frames=sample.keep_frames)
    if sample.keep_frames:
        logger.info("sample.keep_frames=true: sample.mode=%s has no animation, so there are no frames.", sample.mode)
    return picture
