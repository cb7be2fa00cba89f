"""Test images of several classes, so that a picture of a few shows how a model treats different ones."""

import torch

from glow_pipeline.images.examples import first_of_each_class
from glow_pipeline.sampling.real_images import LabelledImages

CHOSEN_AMONG = 60  # test images


def of_several_classes(images: LabelledImages, n: int) -> LabelledImages:
    """Return n of the images, of as many classes as there are among them, in the order of their classes."""
    rows = torch.from_numpy(first_of_each_class(images.labels.numpy(), n))
    return LabelledImages(images.images[rows], images.labels[rows])
