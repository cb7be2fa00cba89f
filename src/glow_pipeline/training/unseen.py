"""Images that a model has never seen: what it may be tested on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable, TableOrigin
from glow_pipeline.training.model_file import ModelRecord


class Unseen(NamedTuple):
    """Images to test on.

    Attributes:
        copies: how many of those that were given are exact copies of images that were trained on; None: not known.
    """

    images: ImageTable
    copies: int | None


def unseen_images(images: ImageTable, trained_on: NDArray[np.int64] | None) -> Unseen:
    """Leave out the images of a folder that were trained on, whatever they are called now.

    Copies in a published set are counted and stay, so that figures are comparable with those of others.

    Args:
        images: all that may be tested on.
        trained_on: content hashes of the images that were trained on; None where nobody knows them.

    Raises:
        GlowPipelineError: no image is left, or nobody knows which to leave out.
    """
    check_known(images.record, trained_on)
    if trained_on is None:
        return Unseen(images, None)
    seen = np.isin(images.content_hashes, trained_on)
    if not images.record.image_selection.is_folder:
        return Unseen(images, int(seen.sum()))
    if seen.all():
        raise GlowPipelineError(
            f"{images.record.name}: each of its {len(images)} images for testing is an exact copy of one that is "
            f"trained on or tested beside it; give others"
        )
    return Unseen(images.subset(np.flatnonzero(~seen)), int(seen.sum()))


def check_known(origin: TableOrigin, trained_on: NDArray[np.int64] | None) -> None:
    """Check that it is known which of these images were trained on, if some may have been.

    Raises:
        GlowPipelineError: they are a user's own, and the model is of an earlier format.
    """
    if trained_on is None and origin.image_selection.is_folder:
        raise GlowPipelineError(
            f"{origin.name}: the model is of an earlier version, whose record does not say which images it was trained "
            f"on, nor what its classes were called; it can be sampled from, but to test it, train it anew"
        )


def check_same_images(record: ModelRecord, now: TableOrigin, *, chosen: bool) -> None:
    """Check that the images to test on are those that were held out when the model was trained.

    Args:
        record: of the model.
        now: of images of the model's own data set.
        chosen: whether the user has named the model, who then means it to be used with these images.

    Raises:
        GlowPipelineError: they are others, and the model was not chosen explicitly.
    """
    then = record.test_table
    if chosen or then is None or now.image_selection.eval_path != then.image_selection.eval_path:
        return
    if sorted(now.source_files.values()) == sorted(then.source_files.values()):
        return
    place = now.image_selection.eval_path or now.image_selection.path
    version = record.provenance.kedro_session
    raise GlowPipelineError(
        f"{now.name}{'' if place is None else f' in {place}'}: not the images that model {version} was trained and "
        f"tested with ({then.count} test images then; other checksums now); bring those back, train anew, or set "
        f"stored_model={version} to use that model with these"
    )
