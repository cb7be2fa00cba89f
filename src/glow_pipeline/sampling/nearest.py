"""Samples beside their nearest training images: whether a model has memorised them."""

import math
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.plots.grids import labelled_grid
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Decoded, draw
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.neighbours import Neighbours, nearest_images
from glow_pipeline.sampling.pictures import STILL_ROWS, titled, warning
from glow_pipeline.sampling.real_images import LabelledImages, TrainingImages

COMPARED = 200  # samples, and test images, unless sample.n asks for more
LEAST = 20  # test images, of which the nearest twentieth is one
TWENTIETH = 0.05
NEIGHBOURS = 3
COMPARED_AT_ONCE = 4096  # training images


class Comparison(NamedTuple):
    """Samples and test images with their nearest training images, those nearest to a training image first."""

    samples: Tensor  # uint8 (n, C, H, W)
    of_samples: Neighbours
    test: Tensor  # uint8 (m, C, H, W)
    of_test: Neighbours
    n_training: int

    @property
    def medians(self) -> tuple[float, float]:
        """The median distance of samples and of test images to their nearest training image, in grey levels."""
        return float(np.median(self.of_samples.distances[:, 0])), float(np.median(self.of_test.distances[:, 0]))

    @property
    def share_nearer(self) -> float:
        """The share of samples that are nearer to a training image than the nearest twentieth of the test images."""
        border = np.quantile(self.of_test.distances[:, 0], TWENTIETH)
        return float((self.of_samples.distances[:, 0].numpy() < border).mean())

    @property
    def copies(self) -> tuple[int, int]:
        """The number of samples and of test images that are exact copies of a training image."""
        return int((self.of_samples.distances[:, 0] == 0).sum()), int((self.of_test.distances[:, 0] == 0).sum())


class Nearest(SamplingMode):
    """Samples beside their nearest training images; as a yardstick, test images beside theirs.

    If samples are as far from the training images as images are that the model has not seen, none is memorised. Rows
    are at even ranks from the nearest to the farthest, so that samples and test images of one row compare.
    """

    name: ClassVar[str] = "nearest"
    summary: ClassVar[str] = "samples beside their nearest training images"
    least_test_images: ClassVar[int] = LEAST
    uses_training_images: ClassVar[bool] = True

    def n_test_images(self, n: int) -> int:
        return max(n, COMPARED)

    def pictures(self, request: SampleRequest) -> int:
        return math.ceil(self.n_test_images(request.n) / request.n)

    def draw(self, request: SampleRequest) -> Figure:
        training = request.real.training
        assert training is not None, "the mode asks for training images"
        test = _of_requested_class(request)
        drawn = _draw_like(request, test.labels)
        whole = ~drawn.broken
        if not whole.any():
            raise GlowPipelineError(
                f"sample.temperature={request.temperature}: none of {len(whole)} samples is finite, so that there is "
                f"nothing to compare; lower it, or train the model longer"
            )
        compared = compare(request, drawn.images[whole], test.images, training)
        return _figure(request, compared, warning(drawn.broken))


def compare(request: SampleRequest, samples: Tensor, test: Tensor, training: TrainingImages) -> Comparison:
    """Find the nearest training images of samples and of test images, in one pass over the training images.

    Raises:
        GlowPipelineError: the images that the model was trained on are gone.
    """
    batches = (batch.images for batch in training.batches(COMPARED_AT_ONCE, "compare"))
    found = nearest_images(torch.cat([samples, test]), batches, NEIGHBOURS, request.device)
    if not found.n_others:
        raise GlowPipelineError(
            f"sample.mode=nearest: none of the {len(training.labels)} training images of {request.dataset} is one that "
            f"the model was trained on; give those again, or choose another model"
        )
    return Comparison(
        *_ranked(samples, found, slice(None, len(samples))),
        *_ranked(test, found, slice(len(samples), None)),
        found.n_others,
    )


def _ranked(images: Tensor, found: Neighbours, rows: slice) -> tuple[Tensor, Neighbours]:
    """Return images and their neighbours, which are some rows of all that were found, nearest first."""
    order = found.distances[rows, 0].argsort(stable=True)
    return images[order], found._replace(images=found.images[rows][order], distances=found.distances[rows][order])


def _of_requested_class(request: SampleRequest) -> LabelledImages:
    """Return the test images to compare with: of the class that is drawn.

    Raises:
        GlowPipelineError: there are too few.
    """
    test = request.real.test
    if request.y is None:
        return test
    of_class = test.labels == request.y
    if int(of_class.sum()) < LEAST:
        more = "" if len(of_class) < max(request.n, COMPARED) else "raise sample.n, which compares more, or "
        raise GlowPipelineError(
            f"sample.mode=nearest: {int(of_class.sum())} of {len(of_class)} test images are of "
            f"{request.class_label(request.y)} (sample.y), and {LEAST} are needed; {more}set sample.y=null"
        )
    return LabelledImages(test.images[of_class], test.labels[of_class])


def _draw_like(request: SampleRequest, labels: Tensor) -> Decoded:
    """Draw as many samples as there are labels, `sample.n` at once, of these classes if the flow is conditioned."""
    flow, random = request.flow, generator(request.seed, "sample", 0, request.device)
    with flow.unchanging():
        parts = [
            draw(flow, len(part), request.temperature, random, part.to(request.device) if flow.y_condition else None)
            for part in labels.split(request.n)
        ]
    return Decoded(*(torch.cat([getattr(part, name) for part in parts]).cpu() for name in Decoded._fields))


def _figure(request: SampleRequest, compared: Comparison, broken: str) -> Figure:
    n_rows = min(STILL_ROWS, len(compared.samples), len(compared.test))
    sides = (compared.samples, compared.of_samples), (compared.test, compared.of_test)
    ranks = [[round(i * (len(images) - 1) / max(1, n_rows - 1)) for i in range(n_rows)] for images, _ in sides]
    rows, captions = [], []
    for both in zip(*ranks, strict=True):
        chosen = [
            (images[rank], of.images[rank], of.distances[rank]) for rank, (images, of) in zip(both, sides, strict=True)
        ]
        row = torch.cat([torch.cat([image[None], nearest]) for image, nearest, _ in chosen])
        rows.append(request.flow.dequantization.expand(row))
        captions.append([text for _, _, distances in chosen for text in ["", *map(_caption, distances.tolist())]])
    k = compared.of_samples.images.shape[1]
    columns = ["nearest", "2nd", "3rd"][:k]
    return labelled_grid(
        rows,
        row_labels=["nearest", *[f"{100 * i / (n_rows - 1):.0f}%" for i in range(1, n_rows - 1)], "farthest"][:n_rows],
        column_labels=["sample", *columns, "test", *columns],
        captions=captions,
        gaps=[1 + k],
        title=_title(request, compared) + broken,
    )


def _caption(distance: float) -> str:
    return f"{distance:.{1 if distance >= 10 else 2}f}" if distance else "copy"


def _title(request: SampleRequest, compared: Comparison) -> str:
    (of_samples, of_test), (copies, test_copies) = compared.medians, compared.copies
    subject = (
        f"samples at temperature {request.temperature:g} and test images, with their nearest training images, from the "
        f"nearest to the farthest"
    )
    return (
        f"{titled(request, subject)}. {100 * compared.share_nearer:.3g}% of the samples are nearer than the nearest 5% "
        f"of the test images: much more than 5% would be memorising. Median distance (RMS, grey levels): samples "
        f"{of_samples:.3g}, test images {of_test:.3g}. Exact copies: {copies} of {len(compared.samples)} samples, "
        f"{test_copies} of {len(compared.test)} test images, of {compared.n_training:,} training images"
    )
