import numpy as np
import pytest
import torch

from glow_pipeline.randomness import generator
from glow_pipeline.sampling import LabelledImages
from glow_pipeline.sampling.levels import redraw
from tests.conftest import jittered_glow
from tests.sampling.requests import figure_of, levels_of, pixels_in, request_of, title_of


@pytest.mark.parametrize("arguments", [{"L": 3}, {"y_condition": True, "num_classes": 3, "learn_top": True}], ids=str)
def test_other_levels_keep_their_latents(arguments: dict[str, object]) -> None:
    model = jittered_glow(**arguments)
    y = torch.tensor([0, 2, 1, 0]) if model.y_condition else None
    with torch.no_grad():
        eps, _ = model(levels_of(4, seed=0) / 16 - 0.47, y)
        for level, shape in enumerate(model.latent_shapes):
            drawn = redraw(model, eps, level, 0.5, generator(1, "level", level), y)
            fresh = 0.5 * torch.randn(4, *shape, generator=generator(1, "level", level))
            again, _ = model(model.inverse([fresh if i == level else e for i, e in enumerate(eps)], y), y)
            for i, latent in enumerate(again):
                assert torch.allclose(latent, fresh if i == level else eps[i], atol=1e-4)
            x = model.inverse([fresh if i == level else e for i, e in enumerate(eps)], y)
            assert np.array_equal(drawn.images.numpy(), np.clip(np.floor((x.numpy() + 0.5) * 16), 0, 15))


def test_picture_has_two_draws_a_level() -> None:
    test = LabelledImages(levels_of(9, seed=0), torch.arange(9) % 3)
    figure = figure_of("levels", request_of(jittered_glow(L=3), test))
    pixels = pixels_in(figure)
    assert len(pixels) == 6 * 7
    first_of_class_0 = 17 * test.images[0, 0].numpy()  # 4 bits to 8
    assert np.array_equal(pixels[0][..., 0], first_of_class_0)
    assert not np.array_equal(pixels[1], pixels[2])
    texts = [text.get_text() for text in figure.texts]
    assert texts.count("level 1\n2x4x4\n50%") == texts.count("level 3\n16x1x1\n25%") == 2
    assert "temperature 0.7" in title_of(figure)


def test_same_seed_draws_the_same_levels() -> None:
    test = LabelledImages(levels_of(2, seed=0), torch.zeros(2, dtype=torch.int64))
    first, second = (pixels_in(figure_of("levels", request_of(jittered_glow(), test))) for _ in range(2))
    assert np.array_equal(first, second)
