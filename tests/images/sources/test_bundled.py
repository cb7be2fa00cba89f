from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.sources import bundled
from glow_pipeline.images.sources.bundled import DIGITS, TEXTURES
from glow_pipeline.images.sources.source import ArraySplit, Source, Split
from tests.images.sources.contract import error_of, opened


def test_digits_have_16_levels_at_4_bits(tmp_path: Path) -> None:
    split = opened(DIGITS, tmp_path, "train")
    assert isinstance(split, ArraySplit)
    image_format = ImageFormat(channels=1, height=8, width=8, n_bits=DIGITS.n_bits, fit="resize")
    reduced = prepare(torch.cat(list(split.read())), image_format)[:, 0].numpy()
    assert np.array_equal(np.unique(reduced), np.arange(16))
    # The file has 17 levels, so at most one is lost.
    difference = load_digits().images[:1500] - reduced
    assert difference.min() == 0
    assert difference.max() == 1


@pytest.mark.parametrize(
    ("source", "split", "at_least"),
    [(DIGITS, "train", 1500), (DIGITS, "test", 297), (TEXTURES, "train", 1000), (TEXTURES, "test", 300)],
)
def test_counts_and_classes_are_the_stated_ones(tmp_path: Path, source: Source, split: Split, at_least: int) -> None:
    labels = opened(source, tmp_path, split).labels
    assert len(labels) == source.counts[0 if split == "train" else 2] >= at_least
    assert np.unique(labels).tolist() == list(range(source.num_classes))


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "find_spec", lambda package: None)
    message = error_of(lambda: DIGITS.files(tmp_path, "train"))
    assert message.startswith("sklearn: not installed")
    assert "make install" in message
