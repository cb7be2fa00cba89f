import math

import pytest
import torch

from glow_pipeline.density import ModelledBatch, modelled_batches
from glow_pipeline.images.batches import Batches
from tests.conftest import MakeTable, jittered_glow, random_images

IMAGES = random_images(4)


def test_log_prob_is_computed_once(make_table: MakeTable) -> None:
    batches = Batches(make_table(IMAGES, 4), 4, torch.device("cpu"))
    (batch,) = modelled_batches(jittered_glow(), batches, 0, None)
    assert batch.log_prob is batch.log_prob
    assert torch.equal(batch.images, IMAGES >> 4)
    assert batch.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("y_condition", [False, True])
def test_unknown_class_has_plain_log_prob(y_condition: bool) -> None:
    model = jittered_glow(y_condition=y_condition, num_classes=2)
    noise = torch.full((4, 1, 8, 8), 0.5)
    with torch.no_grad():
        batch = ModelledBatch(model, IMAGES >> 4, torch.tensor([0, 2, 5, 1]), noise)
        given, plain = batch.log_prob_given_class, batch.log_prob
    assert (given[1:3] == plain[1:3]).all()
    assert (given[[0, 3]] != plain[[0, 3]]).all() == y_condition


def test_traced_batch_has_bits_of_untraced_batch(make_table: MakeTable) -> None:
    model, batches = jittered_glow(), Batches(make_table(IMAGES, 4), 4, torch.device("cpu"))
    (plain,), (traced,) = (modelled_batches(model, batches, 0, None, traces=traces) for traces in (False, True))
    assert torch.equal(traced.log_prob, plain.log_prob)
    total = torch.stack([level.log_prob + level.logdet for level in traced.levels]).sum(dim=0)
    torch.testing.assert_close(total - 64 * math.log(16), plain.log_prob)


def test_draws_differ_in_noise_and_share_image_results(make_table: MakeTable) -> None:
    batches = Batches(make_table(IMAGES, 4), 3, torch.device("cpu"))
    first, second, *others = modelled_batches(jittered_glow(), batches, 0, None, draws=2)
    (alone, _) = modelled_batches(jittered_glow(), batches, 0, None)
    assert len(others) == 2
    assert torch.equal(first.noise, alone.noise)
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.noise, second.noise)

    def computed(batch: ModelledBatch) -> object:
        return object()

    assert first.once(computed) is first.once(computed)
    assert first.once(computed) is not second.once(computed)
    assert first.once_for_images(computed) is second.once_for_images(computed)
    assert first.once_for_images(computed) is not others[0].once_for_images(computed)
