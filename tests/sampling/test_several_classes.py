import torch

from glow_pipeline.sampling import LabelledImages
from glow_pipeline.sampling.several_classes import of_several_classes
from tests.sampling.requests import levels_of


def test_chosen_images_are_of_most_classes() -> None:
    images = levels_of(8, seed=0)
    chosen = of_several_classes(LabelledImages(images, torch.tensor([4, 4, 1, 4, 4, 1, 2, 4])), 4)
    assert chosen.labels.tolist() == [1, 2, 4, 4] or chosen.labels.tolist() == [1, 1, 2, 4]
    assert chosen.images.shape == (4, 1, 8, 8)
    for image, label in zip(chosen.images, chosen.labels.tolist(), strict=True):
        first = {1: [2, 5], 2: [6], 4: [0, 1]}[label]
        assert any(torch.equal(image, images[i]) for i in first)
