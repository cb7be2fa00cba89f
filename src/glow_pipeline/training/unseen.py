"""Images that a model has never seen, on which it may be tested."""

import logging
from typing import NamedTuple

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.content_sets import Sliceable, are_among
from glow_pipeline.images.rows import rows_where
from glow_pipeline.images.table import ImageTable, TableOrigin
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.training.same_origin import check_same_origin

logger = logging.getLogger(__name__)


class Unseen(NamedTuple):
    """Images to test on.

    Attributes:
        copies: how many of the given images are exact copies of training images; None: unknown.
    """

    images: ImageTable
    copies: int | None


def unseen_images(images: ImageTable, trained_on: Sliceable | None) -> Unseen:
    """Leave out the images of a folder that the model was trained on, whatever they are called now.

    Copies in a published set are counted and stay, so that figures are comparable with those of others.

    Args:
        images: all that may be tested on.
        trained_on: content hashes of the training images; None: unknown.

    Raises:
        GlowPipelineError: no image is left, or it is unknown which to leave out.
    """
    check_known(images.record, trained_on)
    if trained_on is None:
        return Unseen(images, None)
    seen = are_among(images.stored_hashes, [trained_on])
    if not images.record.image_selection.is_folder:
        return Unseen(images, int(seen.sum()))
    if seen.all():
        raise GlowPipelineError(
            f"{images.record.name}: each of its {len(images)} images for testing is an exact copy of one that is "
            f"trained on or tested beside it; give others"
        )
    return Unseen(images.subset(rows_where(seen, False)), int(seen.sum()))


def check_known(origin: TableOrigin, trained_on: Sliceable | None) -> None:
    """Check that the training images are known, if some of these images may be among them.

    Raises:
        GlowPipelineError: these are a user's own, and the model is of an earlier format.
    """
    if trained_on is None and origin.image_selection.is_folder:
        raise GlowPipelineError(
            f"{origin.name}: the model is of an earlier version, whose record does not say which images it was trained "
            f"on, nor what its classes were called; it can be sampled from, but to test it, train it again"
        )


def check_same_images(record: ModelRecord, now: TableOrigin, *, chosen: bool) -> None:
    """Check that the images to test on are those that were held out when the model was trained.

    Args:
        record: record of the model.
        now: origin of the images to test on, of the model's own dataset.
        chosen: whether the user has named the model, who then means it to be used with this folder; other files of a
            published set are warned of.

    Raises:
        GlowPipelineError: they are others, and the model was not chosen explicitly.
    """
    before = record.test_table
    if before is None or now.image_selection.eval_path != before.image_selection.eval_path:
        return
    place = now.image_selection.eval_path or now.image_selection.path
    version = record.provenance.kedro_session
    try:
        check_same_origin(
            before,
            now,
            subject=f"{now.name}{'' if place is None else f' in {place}'}: model {version} was trained and tested "
            f"({before.count} test images) with",
            remedy=f"train again, or set stored_model={version} to use that model with these",
            by_checksum=True,
        )
    except GlowPipelineError:
        if not chosen:
            raise
        if not now.image_selection.is_folder:
            logger.warning(
                "%s: its files are others than those that model %s was trained and tested with; figures may differ "
                "from those on its card",
                *(now.name, version),
            )
