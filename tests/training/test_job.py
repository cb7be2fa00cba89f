"""One training from image tables to a trained flow."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.flow import Glow
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import NotEnoughMemoryError
from glow_pipeline.parameters import Parameters
from glow_pipeline.threads import most_threads
from glow_pipeline.training.checkpoint import Checkpoint, TrainingFolder, read_checkpoint
from glow_pipeline.training.job import Job, evaluation_batch, run, untrained_flow
from glow_pipeline.training.model_file import Provenance, write_model
from glow_pipeline.training.resume import Training
from tests.conftest import MakeTable, jittered_glow, model_record, random_images

MODEL = {"K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}
TRAIN = {"n_epochs": 2, "batch_size": 8}
STARTS = ["Images", "Model", "Steps", "Stop"]


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(24), 4)


def job(
    table: ImageTable, folder: Path | None = None, start: Path | None = None, commit: str = "abc", **train: Any
) -> Job:
    parameters = Parameters.model_validate({"device": "cpu", "model": MODEL, "train": {**TRAIN, **train}})
    provenance = Provenance(kedro_session="session", git_commit=commit, versions={"torch": "2"})
    return Job(table, table, parameters, provenance, folder, start)


def fresh(job: Job) -> Glow:
    return untrained_flow(job.parameters, job.fit_images.record.image_format, 3)


def test_the_record_says_what_was_trained_on_what(table: ImageTable) -> None:
    trained, history = run(given := job(table), fresh(given))
    record = trained.record
    assert (record.epochs, record.steps) == (len(history.epochs), history.steps) == (2, 6)
    assert record.val_bits_per_dim == min(row["val_bits_per_dim"] for row in history.epochs)
    assert record.train_table == table.record
    assert record.flow == {**record.flow, "K": 1, "L": 2, "hidden_channels": 4, "num_classes": 3}
    assert record.parameters["train"]["batch_size"] == 8
    assert (record.started_from, record.resumed_from) == (None, [])


def test_model_with_too_few_classes_is_refused(table: ImageTable, tmp_path: Path) -> None:
    parameters = Parameters.model_validate({"model": {**MODEL, "y_condition": True, "num_classes": 2}})
    with pytest.raises(GlowPipelineError, match=r"^model\.num_classes=2: digits has 3 classes; use at least 3"):
        untrained_flow(parameters, table.record.image_format, 3)
    assert untrained_flow(parameters, table.record.image_format, 2).num_classes == 2
    path = tmp_path / "model.safetensors"
    conditioned = {"y_condition": True, "num_classes": 2}
    write_model(path, model_record(**conditioned), jittered_glow(**conditioned).state_dict())
    from_it = Parameters.model_validate({"model": {**MODEL, **conditioned}, "train": {"checkpoint": str(path)}})
    with pytest.raises(GlowPipelineError, match=r"^train\.checkpoint=.*: a model of 2 classes, but the images have 3;"):
        untrained_flow(from_it, table.record.image_format, 3)
    assert untrained_flow(from_it, table.record.image_format, 2).num_classes == 2


def test_a_training_may_begin_with_the_weights_of_a_model(table: ImageTable, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = jittered_glow()
    write_model(path, model_record(), model.state_dict())
    flow = fresh(given := job(table, checkpoint=str(path)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(flow.state_dict()[name], tensor), name
    trained, _ = run(given, flow)
    assert trained.record.started_from == f"model.safetensors sha256:{sha256(path)}"


def test_model_knows_all_images_that_chose_its_weights(make_table: MakeTable) -> None:
    table = make_table(random_images(24), 4)
    given = replace(job(table.subset(np.arange(16))), val_images=table.subset(np.arange(16, 20)))
    trained, _ = run(given, fresh(given))
    assert trained.trained_on is not None
    assert set(trained.trained_on) == set(table.content_hashes[:20])
    given = replace(job(table.subset(np.arange(20, 24)), batch_size=4), seen_before=trained.trained_on)
    later, _ = run(given, fresh(given))
    assert later.trained_on is not None
    assert set(later.trained_on) == set(table.content_hashes), "those of the model it started from too"


def test_unknown_images_of_the_first_model_stay_unknown(table: ImageTable) -> None:
    trained, _ = run(given := replace(job(table), seen_before=None), fresh(given))
    assert trained.trained_on is None


def test_a_training_that_goes_on_names_its_checkpoint(table: ImageTable, tmp_path: Path) -> None:
    first = job(table, tmp_path)
    run(first, fresh(first))
    end = TrainingFolder(tmp_path).newest()
    assert end is not None
    assert end.path is not None
    more = job(table, tmp_path, end.path, n_epochs=3)
    trained, history = run(more, fresh(more))
    assert history.steps == 9
    assert trained.record.resumed_from == [end.path.name]


def test_what_else_changed_since_is_told(table: ImageTable, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = job(table, tmp_path)
    run(first, fresh(first))
    end = TrainingFolder(tmp_path).newest(with_tensors=False)
    assert end is not None
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        run(again := job(table, tmp_path, end.path, n_epochs=3), fresh(again))
        assert caplog.messages == []
        run(again := job(table, tmp_path, end.path, n_epochs=3, commit="def"), fresh(again))
        computed: dict[str, Any] = {"activations": "reversible", "compile": False, "accumulate": 2}
        run(again := job(table, tmp_path, end.path, n_epochs=3, **computed), fresh(again))
    assert caplog.messages == [
        "This training goes on with another commit def instead of abc: the bits of one that was never stopped are not "
        "promised.",
        "This training goes on with another train.activations reversible instead of stored, train.compile false "
        "instead of auto, train.accumulate 2 instead of 1: the bits of one that was never stopped are not promised.",
    ]


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def threads_in(folder: Path) -> list[int]:
    checkpoints = TrainingFolder(folder).checkpoints
    return [read_checkpoint(path, with_tensors=False).facts["computed_with"]["threads"] for path in checkpoints]


def test_record_and_checkpoints_name_the_threads(table: ImageTable, tmp_path: Path) -> None:
    trained, _ = run(given := job(table, tmp_path, threads=2), fresh(given))
    assert trained.record.device == "cpu (2 threads)"
    assert set(threads_in(tmp_path)) == {2}
    assert torch.get_num_threads() == 1


def test_small_images_take_one_thread(table: ImageTable, tmp_path: Path, two_threads: None) -> None:
    trained, _ = run(given := job(table, tmp_path), fresh(given))
    assert trained.record.device == "cpu (1 thread)"
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_resumed_training_takes_the_recorded_threads(
    make_table: MakeTable, tmp_path: Path, caplog: pytest.LogCaptureFixture, two_threads: None, threads: int
) -> None:
    larger = make_table(random_images(16, size=(64, 64)), 4)
    run(first := job(larger, tmp_path, threads=threads, n_epochs=1), fresh(first))
    end = TrainingFolder(tmp_path).newest(with_tensors=False)
    assert end is not None
    with caplog.at_level(logging.WARNING):
        run(again := job(larger, tmp_path, end.path, n_epochs=2), fresh(again))
        assert caplog.messages == []
        assert threads_in(tmp_path)[-1] == min(threads, most_threads())
        run(again := job(larger, tmp_path, end.path, n_epochs=2, threads=3), fresh(again))
    assert "with another device cpu (3 threads) instead of cpu (" in caplog.messages[0]


def test_start_is_summarised(table: ImageTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(given := replace(job(table, tmp_path), test_images=table.subset(np.arange(5))), fresh(given))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.partition(":")[0] in STARTS]
    assert [line.partition(":")[0] for line in lines] == STARTS
    assert "24 for training, 24 for validation, 5 for testing" in lines[0]
    run(given, fresh(given), lambda *_: False)
    assert "Images:" not in capsys.readouterr().err, "trials of a search say nothing"


def test_failed_allocation_names_the_parameters(table: ImageTable) -> None:
    def full(*_: object) -> bool:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(NotEnoughMemoryError) as error:
        run(given := job(table), fresh(given), full)
    assert str(error.value) == (
        "train.batch_size=8: memory does not suffice; lower it, raise train.accumulate=1, or set "
        "train.activations=reversible"
    )


def test_model_beyond_all_memory_is_one_line(table: ImageTable) -> None:
    given = job(table)
    model = given.parameters.model.model_copy(update={"hidden_channels": 10**9})
    large = replace(given, parameters=given.parameters.model_copy(update={"model": model}))
    with pytest.raises(
        NotEnoughMemoryError, match=r"^model\.hidden_channels=1000000000: memory does not suffice; lower"
    ):
        fresh(large)


def test_evaluation_takes_fewer_large_images_at_once() -> None:
    def batch(side: int, device: str = "cpu") -> int:
        image_format = ImageFormat(channels=3, height=side, width=side, n_bits=8, fit="resize")
        return evaluation_batch(image_format, torch.device(device))

    assert [batch(side) for side in (8, 128, 256, 4096)] == [256, 256, 64, 1]
    assert batch(256, "cuda") == 256


def test_batches_too_small_to_be_shared_are_refused(table: ImageTable) -> None:
    given = job(table, batch_size=4, accumulate=5)
    with pytest.raises(GlowPipelineError, match=r"^train\.batch_size=4: batches of 4 images cannot be taken in "):
        run(given, fresh(given))


def test_several_processes_need_a_folder(table: ImageTable) -> None:
    given = job(table, devices=2)
    with pytest.raises(ValueError, match="2 processes here need a folder"):
        run(given, fresh(given))


def test_other_images_under_the_same_parameters_are_refused(table: ImageTable, tmp_path: Path) -> None:
    def within(theirs: dict[str, Any]) -> Job:
        start = Checkpoint({}, {"train_table": theirs}, tmp_path / "step")
        return job(table).within(Training(TrainingFolder(tmp_path), start))

    same = table.record.model_dump(mode="json")
    assert within(same).start == tmp_path / "step"
    assert within({**same, "unreadable": {"a.png": "why"}}).start is not None, "what was left out follows from files"
    with pytest.raises(GlowPipelineError) as refused:
        within({**same, "source_files": {"tiny.bin": "0" * 64}})
    assert str(refused.value) == (
        f"{tmp_path / 'step'}: its training began with other images than there are now (source_files changed); bring "
        f"those back, or begin anew with train.resume=never"
    )
