import numpy as np
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.sampling import LabelledImages, nearest
from glow_pipeline.sampling.decoding import Decoded
from glow_pipeline.sampling.nearest import compare
from tests.conftest import jittered_glow
from tests.sampling.requests import figure_of, levels_of, request_of, title_of, training_images

TRAINING = levels_of(50, seed=2)
LABELS = torch.arange(50) % 3


def test_comparison_is_that_of_all_pairs() -> None:
    samples, test = levels_of(30, seed=0), levels_of(40, seed=1)
    samples[4], test[7] = TRAINING[9], TRAINING[20]
    request = request_of(jittered_glow(), LabelledImages(test, torch.zeros(40, dtype=torch.int64)))
    found = compare(request, samples, test, training_images(TRAINING, LABELS))

    def least(images: torch.Tensor) -> np.ndarray:
        differences = images[:, None].double() - TRAINING[None].double()
        return np.sort(differences.square().mean(dim=(2, 3, 4)).sqrt().amin(dim=1).numpy())

    assert np.allclose(found.of_samples.distances[:, 0], least(samples))
    assert np.allclose(found.of_test.distances[:, 0], least(test))
    assert found.medians == pytest.approx((np.median(least(samples)), np.median(least(test))))
    assert found.share_nearer == np.mean(least(samples) < np.quantile(least(test), 0.05))
    assert found.copies == (1, 1)
    assert torch.equal(found.samples[0], samples[4])
    assert torch.equal(found.test[0], test[7])
    assert torch.equal(found.of_samples.images[0, 0], TRAINING[9])


def test_memorised_samples_are_all_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(_flow: object, n: int, *_rest: object) -> Decoded:
        return Decoded((TRAINING[:n] + 1).clamp(max=15), torch.arange(n) == 0)

    monkeypatch.setattr(nearest, "draw", copied)
    test = LabelledImages(levels_of(24, seed=1), torch.zeros(24, dtype=torch.int64))
    figure = figure_of("nearest", request_of(jittered_glow(), test, training_images(TRAINING, LABELS), n=24))
    assert "100% of the samples are nearer than the nearest 5% of the test images" in title_of(figure)
    assert "Exact copies: 0 of 23 samples, 0 of 24 test images, of 50 training images" in title_of(figure)
    assert "(1 of 24 not finite; crossed out)" in title_of(figure)


def test_copies_are_captioned() -> None:
    test = LabelledImages(levels_of(20, seed=1), torch.zeros(20, dtype=torch.int64))
    test.images[11] = TRAINING[5]
    figure = figure_of("nearest", request_of(jittered_glow(), test, training_images(TRAINING, LABELS)))
    texts = [text.get_text() for text in figure.texts]
    assert texts.count("copy") == 1
    assert "1 of 20 test images" in title_of(figure)


def test_one_class_compares_with_its_test_images() -> None:
    model = jittered_glow(y_condition=True, num_classes=2)
    labels = torch.arange(60) % 2
    training = training_images(TRAINING, LABELS)
    figure = figure_of("nearest", request_of(model, LabelledImages(levels_of(60, seed=1), labels), training, y=1))
    assert "of 30 samples, 0 of 30 test images" in title_of(figure)
    few = LabelledImages(levels_of(30, seed=1), labels[:30])
    with pytest.raises(
        GlowPipelineError,
        match=r"15 of 30 test images are of class 1 \(sample.y\), and 20 are needed; set sample.y=null$",
    ):
        figure_of("nearest", request_of(model, few, training, y=1))


def test_nothing_to_compare_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    test = LabelledImages(levels_of(20, seed=1), torch.zeros(20, dtype=torch.int64))
    gone = training_images(TRAINING[:0], LABELS[:0])
    with pytest.raises(GlowPipelineError, match="none of the 0 training images of tiny is one that the model was"):
        figure_of("nearest", request_of(jittered_glow(), test, gone))

    def overflown(_flow: object, n: int, *_rest: object) -> Decoded:
        return Decoded(TRAINING[:n], torch.full((n,), True))

    monkeypatch.setattr(nearest, "draw", overflown)
    with pytest.raises(GlowPipelineError, match=r"^sample.temperature=0.7: none of 20 samples is finite"):
        figure_of("nearest", request_of(jittered_glow(), test, training_images(TRAINING, LABELS)))
