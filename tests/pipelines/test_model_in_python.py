"""`load_model` draws and scores what the pipelines draw and score."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import BboxImage

from glow_pipeline import load_model
from glow_pipeline.api import ImageModel
from glow_pipeline.datasets import PictureDataset
from glow_pipeline.flow import Dequantization
from glow_pipeline.images.table import ImageTable
from tests.project import run, versions


@pytest.fixture
def model(digits_project: Path) -> ImageModel:
    return load_model(digits_project / "data" / "06_models" / "digits", device="cpu")


def test_sample_draws_the_images_of_the_pipeline(
    model: ImageModel, digits_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(PictureDataset, "save", lambda self, picture: figures.append(picture))
    run(digits_project, "sample", "digits", seed=5, sample={"n": 9, "temperature": 0.9})
    shown = [np.asarray(image.get_array()) for image in figures[0].findobj(BboxImage)]
    drawn = model.sample(9, temperature=0.9, seed=5)
    assert len(shown) == 9
    assert np.array_equal(np.stack(shown)[..., 0], drawn.array)


def test_bits_per_dim_equal_the_pipelines_column(model: ImageModel, digits_project: Path) -> None:
    (stored,) = versions(digits_project, "07_model_output/digits/vs_textures/ood_scores.parquet/*/*")
    folder = versions(digits_project, "03_primary/digits/*/test/*/test")[0]
    scores = pd.read_parquet(stored)
    scores = scores[~scores["is_out"]]
    table = ImageTable(folder)
    images, _ = table[scores["index"].to_numpy()[::-1].copy()]
    images = Dequantization(table.record.image_format.n_bits).expand(images)
    np.testing.assert_allclose(model.bits_per_dim(images), scores["nll_bits_per_dim"][::-1], rtol=1e-6)
