import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline.density import log_probs, scoring_threads
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import generator, key
from glow_pipeline.sampling import draw, sampling_threads
from glow_pipeline.threads import most_threads
from glow_pipeline.training.evaluation import mean_bits_per_dim
from tests.conftest import MakeTable, jittered_glow, random_images

CPU = torch.device("cpu")
IMAGES = random_images(11)


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(IMAGES, 4)


def scores(model: Glow, table: ImageTable, batch_size: int = 4, seed: int = 0, labelled: bool = False) -> Tensor:
    return torch.cat(list(log_probs(model, Batches(table, batch_size, CPU), seed, labelled=labelled)))


def test_log_probs_are_those_of_a_direct_call(table: ImageTable) -> None:
    model = jittered_glow()
    batch = IMAGES >> 4
    noise = content_noise(batch, key(0, "score"))
    with torch.no_grad():
        expected = model.log_prob(batch, noise)
    got = scores(model, table, batch_size=11)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)
    assert got.unique().numel() == 11


def test_log_probs_are_in_table_order(table: ImageTable) -> None:
    model = jittered_glow()
    got = list(log_probs(model, Batches(table, 4, CPU), 0))
    assert [len(batch) for batch in got] == [4, 4, 3]
    for first, part in zip((0, 4, 8), got, strict=True):
        batch = IMAGES[first : first + 4] >> 4
        with torch.no_grad():
            assert torch.equal(part, model.log_prob(batch, content_noise(batch, key(0, "score"))))


def test_order_and_neighbours_do_not_change_scores(table: ImageTable) -> None:
    model = jittered_glow()
    expected = scores(model, table, batch_size=1)
    order = np.array([7, 2, 10, 0, 5])
    assert torch.equal(scores(model, table.subset(order), batch_size=1), expected[torch.from_numpy(order)])
    assert torch.allclose(scores(model, table.subset(order), batch_size=5), expected[torch.from_numpy(order)])


def test_exact_copies_have_one_score(make_table: MakeTable) -> None:
    images = IMAGES.clone()
    images[[4, 9]] = IMAGES[1]
    got = scores(jittered_glow(), make_table(images, 4), batch_size=1)
    assert got[4] == got[9] == got[1]
    assert got.unique().numel() == 9


def test_log_probs_are_the_same_each_time(table: ImageTable) -> None:
    model = jittered_glow()
    first = scores(model, table)
    torch.manual_seed(99)
    assert torch.equal(scores(model, table), first)
    assert not torch.equal(scores(model, table, seed=1), first)


def test_batch_size_does_not_change_log_probs(table: ImageTable) -> None:
    model = jittered_glow()
    assert torch.allclose(scores(model, table, batch_size=4), scores(model, table, batch_size=11), rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_training_mode_is_kept_and_changes_nothing(table: ImageTable, training: bool) -> None:
    model = jittered_glow()
    expected = scores(model, table)
    model.train(training)
    assert torch.equal(scores(model, table), expected)
    assert model.training is training


def test_mode_is_restored_by_an_early_end(table: ImageTable) -> None:
    model = jittered_glow().train()
    some = iter(log_probs(model, Batches(table, 4, CPU), 0))
    next(some)
    del some
    assert model.training


def test_scoring_leaves_no_gradients_and_no_graph(table: ImageTable) -> None:
    model = jittered_glow()
    assert not scores(model, table).requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_labelled_is_the_density_given_the_class(table: ImageTable) -> None:
    model = jittered_glow(y_condition=True, num_classes=3)
    batch, labels = IMAGES >> 4, torch.arange(11) % 3
    noise = content_noise(batch, key(0, "score"))
    with torch.no_grad():
        each = torch.stack([model.log_prob(batch, noise, torch.full((11,), k)) for k in range(3)]).double().numpy()
    given = scores(model, table, 11, labelled=True).numpy()
    assert given == pytest.approx(each[labels.numpy(), np.arange(11)])
    shifted = each - each.max(axis=0)
    mixture = np.log(np.exp(shifted).sum(axis=0) / 3) + each.max(axis=0)
    assert scores(model, table, 11).numpy() == pytest.approx(mixture)


@pytest.mark.parametrize("num_classes", [2, 1])
def test_unknown_classes_are_scored_without_their_class(table: ImageTable, num_classes: int) -> None:
    model = jittered_glow(y_condition=True, num_classes=num_classes)
    known = table.labels < num_classes
    batch, labels = IMAGES >> 4, table.labels
    noise = content_noise(batch, key(0, "score"))
    with torch.no_grad():
        given = model.log_prob(batch[known], noise[known], labels[known])
        without = model.log_prob(batch, noise)[~known]
    for batch_size in (1, 4, 11):
        got = scores(model, table, batch_size, labelled=True)
        torch.testing.assert_close(got[known], given)
        torch.testing.assert_close(got[~known], without)


def test_mean_bits_per_dim_weighs_images_alike(table: ImageTable) -> None:
    model = jittered_glow()
    nats = scores(model, table).numpy().astype(np.float64)
    expected = (-nats / (64 * math.log(2))).mean()
    assert mean_bits_per_dim(model, Batches(table, 4, CPU), 0) == pytest.approx(expected, rel=1e-9)
    by_batches = np.mean([(-part / (64 * math.log(2))).mean() for part in (nats[:4], nats[4:8], nats[8:])])
    assert expected != pytest.approx(by_batches, rel=1e-9)


@pytest.fixture
def back_to_one_thread() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def test_scores_have_the_same_bits_with_any_threads(back_to_one_thread: None, make_table: MakeTable) -> None:
    model = jittered_glow(image_shape=(1, 32, 32), K=2, L=3, hidden_channels=32)
    table = make_table(random_images(64, size=(32, 32)), 4)

    def computed(threads: int) -> Tensor:
        torch.set_num_threads(threads)
        drawn = draw(model, 16, 0.7, generator(0, "drawn"))
        return torch.cat([scores(model, table, batch_size=64), drawn.images.flatten().float()])

    assert torch.equal(computed(1), computed(2))


def test_threads_are_fixed_while_scoring(back_to_one_thread: None, table: ImageTable) -> None:
    with scoring_threads(jittered_glow(), Batches(table, 4, CPU), fixed=2):
        assert torch.get_num_threads() == 2
    with sampling_threads(jittered_glow(), 4, 1, fixed=2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("y_condition", [False, True])
def test_threads_are_measured_by_scoring_and_sampling(
    back_to_one_thread: None, make_table: MakeTable, y_condition: bool
) -> None:
    torch.set_num_threads(2)
    table = make_table(random_images(20, size=(32, 32)), 4)
    model = jittered_glow(image_shape=(1, 32, 32), y_condition=y_condition, num_classes=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with scoring_threads(model, Batches(table, 20, CPU)), sampling_threads(model, 16, 1):
        assert torch.get_num_threads() == most_threads(), "work of a moment is not worth a choice"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
