"""Test images with less or more of an attribute (Glow, section 5, arXiv:1807.03039)."""

from collections.abc import Collection, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import scoring_batch
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.classes import shorten
from glow_pipeline.plots.grids import frame, labelled_grid
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator, key
from glow_pipeline.sampling.decoding import Decoded, Movement, decode, steps_with_progress
from glow_pipeline.sampling.group_means import draw_places, group_means, latents_before_prior
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import STILL_ROWS, broken_at_any_step, shown, titled, warning
from glow_pipeline.sampling.real_images import LabelledImages, TrainingImages
from glow_pipeline.sampling.several_classes import CHOSEN_AMONG, of_several_classes

COLUMNS = 9  # strengths of the still picture: a quarter apart, and 0 is among them
ENCODED = 10_000  # training images, of all groups together
MOST_CLASSES = 10  # rows, where each class is an attribute


class Attributes(NamedTuple):
    """Groups of classes. The images of each group have an attribute that all others have not.

    Attributes:
        classes: the classes of each group.
        group_of_class: int64 (number of classes,); len(classes) for classes of no group.
    """

    classes: list[tuple[int, ...]]
    group_of_class: Tensor


class Attribute(SamplingMode):
    """Test images moved along mean latents with minus without a label: a movie, and rows at strengths from -1 to 1.

    With `sample.attribute` a row is a test image. Without it a row is a class, and all start from one test image.
    """

    name: ClassVar[str] = "attribute"
    summary: ClassVar[str] = "less or more of a class"
    least_test_images: ClassVar[int] = 1
    uses_training_images: ClassVar[bool] = True
    uses_attribute: ClassVar[bool] = True

    def n_test_images(self, n: int) -> int:  # noqa: ARG002
        return CHOSEN_AMONG

    def pictures(self, request: SampleRequest) -> int:
        training = request.real.training
        encoded = 0 if training is None else min(ENCODED, len(training.labels))
        return request.frames + COLUMNS + encoded // request.n

    def draw(self, request: SampleRequest) -> Movie:
        training = request.real.training
        assert training is not None, "the mode asks for training images"
        attributes = attributes_of(request, training.labels)
        directions, counts = mean_directions(request, attributes, training)
        start = _starts(request, len(attributes.classes))
        steps, columns = (
            move(request.flow, start, directions, np.linspace(-1, 1, n).tolist(), request.seed)
            for n in (request.frames, COLUMNS)
        )
        title = titled(request, _subject(request, counts, len(np.unique(training.labels)))) + warning(
            broken_at_any_step(steps, columns)
        )
        still = _still(request, attributes, start, columns, title)
        return Movie(still, [frame(shown(request.flow, step)) for step in steps.decoded])


def check_attribute(
    attribute: tuple[int, ...] | None, occurring: Collection[int], dataset: str, class_names: Sequence[str] = ()
) -> None:
    """Check that there are images with and without the attribute.

    Args:
        attribute: numbers of the classes with it; None: each class is one.
        occurring: numbers of all classes of the training images.
        dataset: name of these images, for the error.
        class_names: names of the classes by number; may be empty.

    Raises:
        GlowPipelineError: there are none with it, or none without.
    """
    names = {k: class_names[k] if k < len(class_names) else str(k) for k in sorted(occurring)}
    if len(names) < 2:
        raise GlowPipelineError(
            f"sample.mode=attribute: the training images of {dataset} are of one class, and an attribute is a "
            f"difference between classes; choose another mode, or images of several classes"
        )
    having = names.keys() & (names if attribute is None else attribute)
    if attribute is not None and len(having) in (0, len(names)):
        typed = "+".join(names.get(k, str(k)) for k in attribute)
        raise GlowPipelineError(
            f"sample.attribute={typed}: {'all' if having else 'none'} of the training images of {dataset} are of it; "
            f"give some of its classes, but not all: {shorten(list(names.values()))}"
        )


def attributes_of(request: SampleRequest, labels: NDArray[np.int64]) -> Attributes:
    """Return the requested attribute, or each of the first classes as one.

    Args:
        request: its `attribute` is looked at.
        labels: classes of the training images, int64 (N,).

    Raises:
        GlowPipelineError: there are no images with the attribute, or none without.
    """
    occurring = np.unique(labels).tolist()
    check_attribute(request.attribute, occurring, request.dataset, request.class_names)
    classes: list[tuple[int, ...]] = [(k,) for k in occurring[:MOST_CLASSES]]
    if request.attribute is not None:
        classes = [tuple(k for k in request.attribute if k in occurring)]
    group_of_class = torch.full((occurring[-1] + 1,), len(classes))
    for group, chosen in enumerate(classes):
        group_of_class[list(chosen)] = group
    return Attributes(classes, group_of_class)


def mean_directions(
    request: SampleRequest, attributes: Attributes, training: TrainingImages
) -> tuple[list[Tensor], Tensor]:
    """Average the latents of training images drawn at random, and return the direction of each attribute.

    Returns:
        float32 (number of attributes, *latent_shapes[i]) for each level i; and the number of images of each group.

    Raises:
        GlowPipelineError: the model was trained on no image with an attribute, or on none without.
    """
    flow, n = request.flow, len(attributes.classes)
    groups = attributes.group_of_class[torch.from_numpy(training.labels)]
    places = draw_places(groups, ENCODED, generator(request.seed, "attribute"))
    batches = training.batches(scoring_batch(flow), "encode", places)
    means = group_means(flow, batches, attributes.group_of_class, n + 1, key(request.seed, "attribute"))
    for group, classes in enumerate(attributes.classes):
        if not 0 < means.counts[group] < means.counts.sum():
            raise GlowPipelineError(
                f"sample.mode=attribute: {means.counts[group]} of {means.counts.sum()} images that the model was "
                f"trained on are of {_name(request, classes)}, and it takes images with and without it; set "
                f"sample.attribute to other classes"
            )
    sizes = groups.bincount(minlength=n + 1)
    directions = [means.direction(group, sizes) for group in range(n)]
    return [torch.stack(level).to(request.device) for level in zip(*directions, strict=True)], means.counts


@torch.no_grad()
def move(flow: Glow, start: LabelledImages, directions: list[Tensor], strengths: list[float], seed: int) -> Movement:
    """Add directions to the latents of images and decode, once for each strength; a strength of 0 is the image itself.

    Args:
        flow: the model; a class-conditioned one decodes each image with its own class.
        start: images and their classes, on the device of the flow.
        directions: (1 or n, *latent_shapes[i]) for each level, of latents before the top prior.
        strengths: factors on the directions.
        seed: of the dequantization noise.
    """
    y = start.labels if flow.y_condition else None
    noise = generator(seed, "attribute", 0, start.images.device)
    latents = latents_before_prior(flow, flow.dequantization.dequantize(start.images, noise)[0])
    decoded = []
    for strength in steps_with_progress(flow, strengths):
        *finer, top = (latent + strength * direction for latent, direction in zip(latents, directions, strict=True))
        decoded.append(decode(flow, [*finer, flow.top(top, y)[0]], y=y))
    return Movement(strengths, decoded)


def _starts(request: SampleRequest, n_attributes: int) -> LabelledImages:
    """Return the image of each row: test images of several classes, or one test image for all classes."""
    if request.attribute is not None:
        chosen = of_several_classes(request.real.test, STILL_ROWS)
    else:
        chosen = LabelledImages(*(tensor[:1].expand(n_attributes, *tensor.shape[1:]) for tensor in request.real.test))
    return LabelledImages(*(tensor.to(request.device) for tensor in chosen))


def _subject(request: SampleRequest, counts: Tensor, n_classes: int) -> str:
    if request.attribute is None:
        of_which = (
            "each class" if n_classes <= MOST_CLASSES else f"each of the first {MOST_CLASSES} of {n_classes} classes"
        )
        return (
            f"one test image with less (-1) to more (+1) of {of_which}: to its latents are added the mean latents of "
            f"the class minus those of the others (of {counts.sum():,} training images)"
        )
    return (
        f"test images with less (-1) to more (+1) of {_name(request, request.attribute)}: to their latents are added "
        f"the mean latents of {counts[0]:,} training images of it minus those of {counts[1]:,} others"
    )


def _name(request: SampleRequest, classes: Sequence[int]) -> str:
    return "class " + "+".join(request.class_label(k).removeprefix("class ") for k in classes)


def _still(
    request: SampleRequest, attributes: Attributes, start: LabelledImages, columns: Movement, title: str
) -> Figure:
    real = Decoded.real(start.images)
    pictures = [shown(request.flow, column) for column in (real, *columns.decoded)]
    classes = start.labels.tolist() if request.attribute is not None else [k for (k,) in attributes.classes]
    return labelled_grid(
        [torch.stack([column[row] for column in pictures]) for row in range(len(start.images))],
        row_labels=[request.class_label(k) for k in classes],
        column_labels=["real", *[f"{strength:+.2f}" if strength else "0" for strength in columns.steps]],
        gaps=[1],
        title=title,
    )
