"""Images that a model has never seen: what it may be tested on."""

from typing import NamedTuple

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.training.stored import ModelRecord, TrainedGlow


class Unseen(NamedTuple):
    """Images to test on, and how many of those that were given are exact copies of images that were trained on."""

    images: ImageTable
    copies: int


def unseen_by(model: TrainedGlow, images: ImageTable) -> Unseen:
    """Leave out the images of a folder that the model was trained on, whatever they are called now.

    Copies in a published set are counted and stay, so that figures are comparable with those of others.

    Raises:
        GlowPipelineError: no image is left, or nobody knows which to leave out.
    """
    name, image_set = images.record.name, images.record.image_set
    if model.trained_on is None:
        if image_set.is_folder and image_set.eval_percentage is not None:
            raise GlowPipelineError(
                f"{name}: the model is of an earlier version, whose record does not say which images it was trained "
                f"on; give others to test with by ingest.eval_path, or train it anew"
            )
        return Unseen(images, 0)
    seen = np.isin(images.content_hashes, model.trained_on)
    if not image_set.is_folder:
        return Unseen(images, int(seen.sum()))
    if seen.all():
        raise GlowPipelineError(
            f"{name}: the model was trained on exact copies of all its {len(images)} images; give others"
        )
    return Unseen(images.subset(np.flatnonzero(~seen)), int(seen.sum()))


def check_same_images(record: ModelRecord, images: ImageTable, *, chosen: bool) -> None:
    """Check that the images to test on are those that were held out when the model was trained.

    Args:
        images: of the model's own data set.
        chosen: whether the user has named the model, who then means it to be used with these images.

    Raises:
        GlowPipelineError: they are others, and nobody has said that they are meant.
    """
    now, then = images.record, record.test_table
    if chosen or then is None or now.image_set.eval_path != then.image_set.eval_path:
        return
    if sorted(now.source_files.values()) == sorted(then.source_files.values()):
        return
    place = now.image_set.eval_path or now.image_set.path
    version = record.provenance.kedro_session
    raise GlowPipelineError(
        f"{now.name}{'' if place is None else f' in {place}'}: not the images that model {version} was trained and "
        f"tested with ({then.count} test images then, {now.count} now, other checksums); bring those back, train "
        f"anew, or set stored_model={version} to use that model with these"
    )
