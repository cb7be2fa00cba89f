import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.sampling import neighbours
from glow_pipeline.sampling.neighbours import nearest_images
from tests.conftest import random_images

CPU = torch.device("cpu")


def brute_force(images: Tensor, others: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and distances of the k nearest, with a loop over pairs; of equally near ones the first."""
    positions, distances = [], []
    for image in images.numpy().astype(np.int64):
        squared = [int(((image - other) ** 2).sum()) for other in others.numpy().astype(np.int64)]
        order = sorted(range(len(squared)), key=lambda i: (squared[i], i))[:k]
        positions.append(order)
        distances.append([np.sqrt(squared[i] / image.size) for i in order])
    return np.array(positions), np.array(distances)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [1, 8])  # with one bit many images are equally near
@pytest.mark.parametrize("chunk", [1, 7, 60])
def test_nearest_are_those_of_brute_force(
    channels: int, bits: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "COMPARED_VALUES", 5 * 16 * channels)
    images, others = (random_images(n, channels, (4, 4), seed=n) >> (8 - bits) for n in (6, 60))
    others[40] = others[3] = images[0]
    found = nearest_images(images, others.split(chunk), 3, CPU)
    positions, distances = brute_force(images, others, 3)
    assert torch.equal(found.images, others[torch.from_numpy(positions)])
    assert np.array_equal(found.distances, distances)
    assert positions[0, :2].tolist() == [3, 40]
    assert found.distances[0, :2].tolist() == [0, 0]
    assert found.n_others == 60


def test_fewer_others_give_fewer_neighbours() -> None:
    images, others = random_images(4, seed=0), random_images(2, seed=1)
    found = nearest_images(images, [others[:1], others[:0], others[1:]], 3, CPU)
    assert found.images.shape == (4, 2, 1, 8, 8)
    assert np.array_equal(found.distances, brute_force(images, others, 3)[1])


@pytest.mark.parametrize("side", [128, 640])  # the squared distance of the larger ones takes more than 34 bits
def test_distances_of_large_bright_images_are_exact(side: int) -> None:
    white = torch.full((1, 3, side, side), 255, dtype=torch.uint8)
    almost = white.clone()
    almost[0, 0, 0, 0] = 254
    found = nearest_images(white, [torch.cat([torch.zeros_like(white), almost])], 2, CPU)
    assert found.distances[0].tolist() == pytest.approx([1 / np.sqrt(3 * side * side), 255])
