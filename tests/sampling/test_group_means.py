import numpy as np
import torch

from glow_pipeline.images.content import content_noise
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import LabelledImages
from glow_pipeline.sampling.group_means import draw_places, group_means, latents_before_prior
from tests.conftest import jittered_glow
from tests.sampling.requests import levels_of, training_images

IMAGES, LABELS = levels_of(40, seed=0), torch.tensor([0, 1, 2, 2, 3] * 8)


def test_means_are_those_of_single_images() -> None:
    model = jittered_glow()
    group_of_class = torch.tensor([0, 1, 2, 2])
    found = group_means(model, training_images(IMAGES, LABELS).batches(16, "encode"), group_of_class, 3, 5)
    assert found.counts.tolist() == [8, 8, 24]
    by_group: dict[int, list[np.ndarray]] = {0: [], 1: [], 2: []}
    with torch.no_grad():
        for image, label in zip(IMAGES, LABELS.tolist(), strict=True):
            eps, _ = model((image[None] + content_noise(image[None], 5)) / 16 - 0.5)  # the prior here is N(0, 1)
            by_group[min(label, 2)].append(np.concatenate([level.numpy().ravel() for level in eps]))
    means = {group: np.mean(each, axis=0, dtype=np.float64) for group, each in by_group.items()}
    for group in range(3):
        assert np.allclose(torch.cat([mean[group].flatten() for mean in found.means]), means[group], atol=1e-5)
    direction = torch.cat([part.flatten() for part in found.direction(0, torch.tensor([8, 10, 30]))])
    assert np.allclose(direction, means[0] - (0.25 * means[1] + 0.75 * means[2]), atol=1e-5)


def test_groups_without_images_do_not_count() -> None:
    model, group_of_class = jittered_glow(), torch.tensor([0, 1, 2, 3])
    some = LABELS != 3
    found = group_means(model, [LabelledImages(IMAGES[some], LABELS[some])], group_of_class, 4, 5)
    without = group_means(model, [LabelledImages(IMAGES[some], LABELS[some])], group_of_class, 3, 5)
    for one, other in zip(
        found.direction(1, torch.tensor([8, 8, 16, 8])), without.direction(1, torch.tensor([8, 8, 16])), strict=True
    ):
        assert torch.equal(one, other)
        assert one.isfinite().all()


def test_class_conditioned_flow_encodes_without_labels() -> None:
    model = jittered_glow(y_condition=True, num_classes=3, learn_top=True)
    x = IMAGES / 16 - 0.47
    with torch.no_grad():
        latents = latents_before_prior(model, x)
        for y in (0, 2):
            eps, _ = model(x, torch.full((40,), y))
            assert all(torch.equal(one, other) for one, other in zip(latents[:-1], eps[:-1], strict=True))
            assert torch.allclose(model.top.inverse(eps[-1], torch.full((40,), y)), latents[-1], atol=1e-5)


def test_drawn_places_are_equally_many_of_each_group() -> None:
    groups = torch.tensor([0] * 50 + [1] * 4 + [3] * 20)[torch.randperm(74, generator=generator(0, "test"))]
    places = draw_places(groups, 30, generator(0, "attribute"))
    assert (np.diff(places) > 0).all()
    assert torch.bincount(groups[places]).tolist() == [10, 4, 0, 10]
    assert np.array_equal(draw_places(groups, 30, generator(0, "attribute")), places)
    assert not np.array_equal(draw_places(groups, 30, generator(1, "attribute")), places)
    assert np.array_equal(draw_places(groups, 1000, generator(0, "attribute")), np.arange(74))
