import matplotlib
import numpy as np
import torch

from glow_pipeline.plots.error_map import error_maps


def test_errors_are_coloured_on_one_scale() -> None:
    errors = torch.tensor([[[0.0, 0.1], [0.2, 0.4]], [[0.8, torch.nan], [0.4, 0.0]]])
    maps = error_maps(errors, 0.4)
    assert maps.shape == (2, 3, 2, 2)
    assert maps.dtype == torch.uint8
    shares = np.array([[[0, 0.25], [0.5, 1]], [[1, 0], [1, 0]]])
    expected = matplotlib.colormaps["inferno"](shares, bytes=True)[..., :3].transpose(0, 3, 1, 2)
    assert np.array_equal(maps.numpy(), expected)


def test_maps_without_errors_are_black() -> None:
    assert error_maps(torch.zeros(1, 2, 2), 0.0).max() < 10
