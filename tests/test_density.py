import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from glow_pipeline import density
from glow_pipeline.density import CPU_BATCH, ModelledBatch, log_probs, modelled_batches, scoring_batch
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batch, Batches
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.fake_gpu import CUDA, fake_gpu

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


@pytest.mark.parametrize("traces", [False, True])
def test_unknown_classes_change_no_bits_of_known(traces: bool) -> None:
    model, noise = jittered_glow(y_condition=True, num_classes=2), torch.full((4, 1, 8, 8), 0.5)
    with torch.no_grad():
        some = ModelledBatch(model, IMAGES >> 4, torch.tensor([0, 2, 5, 1]), noise, traces).log_prob_given_class
        all_known = ModelledBatch(model, IMAGES >> 4, torch.tensor([0, 0, 0, 1]), noise, knows_classes=True)
        assert torch.equal(some[[0, 3]], all_known.log_prob_given_class[[0, 3]])


def test_wait_of_the_host_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as waits:
        numbers = torch.ones(3, device=CUDA)
        numbers.to("cpu", non_blocking=True)
        assert not waits.seen
        numbers.cpu()
        torch.ones(3).to(CUDA)
        assert waits.seen == ["copy from cuda:0 to cpu", "copy from cpu to cuda:0"]


@pytest.mark.parametrize("knows_classes", [True, False])
def test_host_does_not_wait_for_labelled_scores(monkeypatch: pytest.MonkeyPatch, knows_classes: bool) -> None:
    with fake_gpu(monkeypatch) as waits:
        with CUDA:
            model = Glow((3, 8, 8), K=2, L=2, hidden_channels=8, y_condition=True, num_classes=3)
            batch = Batch(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
        waits.seen.clear()  # those of making the flow
        (scored,) = modelled_batches(model, [batch], 0, None, knows_classes=knows_classes)
        assert scored.log_prob_given_class.device.type == "cuda"
        assert not waits.seen


@pytest.mark.parametrize(("labels", "known"), [([0, 1, 2, 0], True), ([0, 1, 3, 0], False)])
def test_log_probs_know_the_classes_of_the_table(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch, labels: list[int], known: bool
) -> None:
    seen: list[bool] = []
    modelled = density.modelled_batches

    def noted(*args: Any, **options: Any) -> Iterator[ModelledBatch]:
        seen.append(options["knows_classes"])
        return modelled(*args, **options)

    monkeypatch.setattr(density, "modelled_batches", noted)
    table = make_table(IMAGES, 4)
    monkeypatch.setattr(type(table), "labels", torch.tensor(labels))
    list(
        log_probs(
            jittered_glow(y_condition=True, num_classes=3), Batches(table, 4, torch.device("cpu")), 0, labelled=True
        )
    )
    assert seen == [known]


def test_cpu_scores_few_images_at_once() -> None:
    def batch(side: int) -> int:
        return scoring_batch(Glow((1, side, side), K=1, L=1, hidden_channels=2))

    assert [batch(side) for side in (8, 128, 256, 4096)] == [CPU_BATCH, CPU_BATCH, 64, 1]
    assert scoring_batch(jittered_glow(), chosen=7) == 7


@pytest.mark.parametrize(("side", "free", "n"), [
    (32, 80 * 2**30, 4096), (256, 80 * 2**30, 64), (8, 80 * 2**30, 65536), (32, 2**30, 448), (32, 10**5, 1),
])  # fmt: skip
def test_gpu_scores_as_many_images_as_fill_it(monkeypatch: pytest.MonkeyPatch, side: int, free: int, n: int) -> None:
    monkeypatch.setattr(density, "available_bytes", lambda _: free)
    with fake_gpu(monkeypatch), CUDA:
        model = Glow((3, side, side), K=2, L=2, hidden_channels=128)
    assert scoring_batch(model) == n


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
