"""One training from image tables to a trained flow."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline import density
from glow_pipeline.errors import GlowPipelineError, HelperFinished, TrainingStopped
from glow_pipeline.files import sha256
from glow_pipeline.flow import Glow
from glow_pipeline.flow.coupling import COUPLINGS
from glow_pipeline.images.parts import split_parts
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import NotEnoughMemoryError
from glow_pipeline.parameters import Parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.shard import Shard
from glow_pipeline.threads import most_threads
from glow_pipeline.training.checkpoint import read_checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.distributed.process_group import SingleProcess
from glow_pipeline.training.history import Metrics
from glow_pipeline.training.identity import identity
from glow_pipeline.training.model_file import read_model, write_model
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.records import PartRecords
from glow_pipeline.training.task import TrainingTask
from glow_pipeline.training.train import _scored_at_once, train
from tests.conftest import MakeTable, jittered_glow, model_record, random_images
from tests.fake_gpu import CUDA, fake_gpu
from tests.flow.test_new_coupling import ExpCoupling
from tests.training.helpers import checkpoint, same

MODEL = {"K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}
TRAIN = {"n_epochs": 2, "batch_size": 8}
STARTS = ["Images", "Model", "Steps", "Stop"]


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(24), 4)


def task_of(
    table: ImageTable, folder: Path | None = None, start: Path | None = None, commit: str = "abc", **settings: Any
) -> TrainingTask:
    parameters = Parameters.model_validate({"device": "cpu", "model": MODEL, "train": {**TRAIN, **settings}})
    provenance = Provenance(kedro_session="session", git_commit=commit, versions={"torch": "2"})
    return TrainingTask(table, table, parameters, provenance, folder, start)


def new_flow(task: TrainingTask) -> Glow:
    return untrained_flow(task.parameters, task.fit_images.record.image_format, 3)


def test_model_of_unknown_coupling_is_refused(tmp_path: Path) -> None:
    flow = jittered_glow()
    record = model_record()
    path = tmp_path / "glow_model.safetensors"
    write_model(path, record.model_copy(update={"flow": {**record.flow, "flow_coupling": "exp"}}), flow.state_dict())
    with pytest.raises(GlowPipelineError, match="a model with the coupling exp, which is not in COUPLINGS"):
        read_model(path)


def test_record_says_what_was_trained_on_what(table: ImageTable) -> None:
    trained, history = train(given := task_of(table), new_flow(given))
    record = trained.record
    assert (record.epochs, record.steps) == (len(history.epochs), history.steps) == (2, 6)
    assert record.val_bits_per_dim == min(row["val_bits_per_dim"] for row in history.epochs)
    assert record.train_table == table.record
    assert record.flow == {**record.flow, "K": 1, "L": 2, "hidden_channels": 4, "num_classes": 3}
    assert record.parameters["train"]["batch_size"] == 8
    assert (record.started_from, record.resumed_from) == (None, [])
    assert (record.parts, trained.calibration) == (None, None), "without calibration images they are not recorded"


def test_training_from_a_copy_has_the_same_bits(table: ImageTable, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"n_epochs": 5, "batch_size": 10, "lr": 0.01}
    shuffled = table.subset(np.random.default_rng(0).permutation(24))
    plain = replace(task_of(table, **settings), fit_images=shuffled)
    staged = replace(task_of(table, **settings, stage=str(tmp_path / "stage")), fit_images=shuffled)
    assert identity(plain.parameters) == identity(staged.parameters)
    expected, _ = train(plain, new_flow(plain))
    trained, history = train(staged, new_flow(staged))
    assert history.steps == 10
    assert same(trained.flow.state_dict(), expected.flow.state_dict())
    assert trained.record.train_table == expected.record.train_table
    (copy,) = (path for path in (tmp_path / "stage").iterdir() if path.is_dir())
    assert {each.folder for each in (staged.staged().fit_images, staged.staged().val_images)} == {copy}
    assert (plain.staged(), staged.fit_images.folder) == (plain, table.folder)


def test_coupling_without_a_folded_form_trains(table: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COUPLINGS, "exp", ExpCoupling)
    parameters = Parameters.model_validate(
        {"device": "cpu", "model": {**MODEL, "flow_coupling": "exp"}, "train": {**TRAIN, "n_epochs": 4, "lr": 0.01}}
    )
    trained, history = train(given := replace(task_of(table), parameters=parameters), new_flow(given))
    assert trained.flow.execution is None
    assert history.epochs[-1]["train_bits_per_dim"] < history.epochs[0]["train_bits_per_dim"]


def test_training_may_start_with_weights_of_a_model(table: ImageTable, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = jittered_glow()
    write_model(path, model_record(), model.state_dict())
    flow = new_flow(given := task_of(table, checkpoint=str(path)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(flow.state_dict()[name], tensor), name
    trained, _ = train(given, flow)
    assert trained.record.started_from == f"model.safetensors sha256:{sha256(path)}"


def test_model_knows_all_images_that_chose_its_weights(make_table: MakeTable) -> None:
    table = make_table(random_images(24), 4)
    given = replace(task_of(table.subset(np.arange(16))), val_images=table.subset(np.arange(16, 20)))
    trained, _ = train(given, new_flow(given))
    assert trained.trained_on is not None
    assert set(trained.trained_on) == set(table.content_hashes[:20])
    given = replace(task_of(table.subset(np.arange(20, 24)), batch_size=4), seen_before=trained.trained_on)
    later, _ = train(given, new_flow(given))
    assert later.trained_on is not None
    assert set(later.trained_on) == set(table.content_hashes), "those of the model it started from too"


def test_record_says_which_images_chose_what(make_table: MakeTable, tmp_path: Path) -> None:
    parts = split_parts(make_table(random_images(24), 4), 25.0, 12.5, 0)
    given = replace(
        task_of(parts.fit, folder=tmp_path), val_images=parts.validation, calibration_images=parts.calibration
    )
    trained, _ = train(given, new_flow(given))
    record = trained.record.parts
    assert record == PartRecords.of(parts)
    assert (record.fit.count, record.fit.chose) == (15, ("weights",))
    assert (record.validation.count, record.validation.chose) == (6, ("epoch",))
    assert (record.calibration.count, record.calibration.chose) == (3, ())
    newest = TrainingFolder(tmp_path).newest()
    assert newest is not None
    assert newest.record.parts == record
    assert trained.trained_on is not None
    assert trained.calibration is not None
    assert set(trained.trained_on) == {*parts.fit.content_hashes, *parts.validation.content_hashes}
    assert set(trained.calibration) == set(parts.calibration.table.content_hashes)


def test_unknown_images_of_the_first_model_stay_unknown(table: ImageTable) -> None:
    trained, _ = train(given := replace(task_of(table), seen_before=None), new_flow(given))
    assert trained.trained_on is None


def test_resumed_training_names_its_checkpoint(table: ImageTable, tmp_path: Path) -> None:
    first = task_of(table, tmp_path)
    train(first, new_flow(first))
    end = TrainingFolder(tmp_path).newest()
    assert end is not None
    assert end.path is not None
    more = task_of(table, tmp_path, end.path, n_epochs=3)
    trained, history = train(more, new_flow(more))
    assert history.steps == 9
    assert trained.record.resumed_from == [end.path.name]


def test_changed_computation_is_reported_on_resume(
    table: ImageTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = task_of(table, tmp_path)
    train(first, new_flow(first))
    end = TrainingFolder(tmp_path).newest(with_tensors=False)
    assert end is not None
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        train(again := task_of(table, tmp_path, end.path, n_epochs=3), new_flow(again))
        assert caplog.messages == []
        train(again := task_of(table, tmp_path, end.path, n_epochs=3, commit="def"), new_flow(again))
        computed: dict[str, Any] = {"activations": "reversible", "compile": False, "accumulate": 2}
        train(again := task_of(table, tmp_path, end.path, n_epochs=3, **computed), new_flow(again))
    assert caplog.messages == [
        "This training resumes with another commit def instead of abc: it may not end in the same bits as "
        "without a stop.",
        "This training resumes with another train.activations reversible instead of stored, train.compile false "
        "instead of auto, train.accumulate 2 instead of 1: it may not end in the same bits as without a stop.",
    ]


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def threads_in(folder: Path) -> list[int]:
    checkpoints = TrainingFolder(folder).checkpoints
    return [read_checkpoint(path, with_tensors=False).record.computation.threads for path in checkpoints]


def test_record_and_checkpoints_name_the_threads(table: ImageTable, tmp_path: Path) -> None:
    trained, _ = train(given := task_of(table, tmp_path, threads=2), new_flow(given))
    assert trained.record.device == "cpu (2 threads)"
    assert set(threads_in(tmp_path)) == {2}
    assert torch.get_num_threads() == 1


def test_small_images_take_one_thread(table: ImageTable, tmp_path: Path, two_threads: None) -> None:
    trained, _ = train(given := task_of(table, tmp_path), new_flow(given))
    assert trained.record.device == "cpu (1 thread)"
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_resumed_training_takes_the_recorded_threads(
    make_table: MakeTable, tmp_path: Path, caplog: pytest.LogCaptureFixture, two_threads: None, threads: int
) -> None:
    larger = make_table(random_images(16, size=(64, 64)), 4)
    train(first := task_of(larger, tmp_path, threads=threads, n_epochs=1), new_flow(first))
    end = TrainingFolder(tmp_path).newest(with_tensors=False)
    assert end is not None
    with caplog.at_level(logging.WARNING):
        train(again := task_of(larger, tmp_path, end.path, n_epochs=2), new_flow(again))
        assert caplog.messages == []
        assert threads_in(tmp_path)[-1] == min(threads, most_threads())
        train(again := task_of(larger, tmp_path, end.path, n_epochs=2, threads=3), new_flow(again))
    assert "with another device cpu (3 threads) instead of cpu (" in caplog.messages[0]


def test_start_is_summarised(table: ImageTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(given := replace(task_of(table, tmp_path), test_images=table.subset(np.arange(5))), new_flow(given))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.partition(":")[0] in STARTS]
    assert [line.partition(":")[0] for line in lines] == STARTS
    assert "24 for training, 24 for validation, 5 for testing" in lines[0]
    quiet = replace(given, prints_summary=False)
    train(quiet, new_flow(quiet))
    assert "Images:" not in capsys.readouterr().err


class FullMemory:
    """A reporter for which the memory does not suffice."""

    def epoch(self, _metrics: Metrics, _step: int) -> bool:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def samples(self, _flow: Glow, _epoch: int) -> None:
        pass


def test_failed_allocation_names_the_parameters(table: ImageTable) -> None:
    with pytest.raises(NotEnoughMemoryError) as error:
        train(given := task_of(table), new_flow(given), FullMemory())
    assert str(error.value) == (
        "train.batch_size=8: memory does not suffice; lower it, raise train.accumulate=1, or set "
        "train.activations=reversible"
    )


class Fullest(SingleProcess):
    """One of four processes, of which another one has memory for fewer images."""

    def __init__(self, most: int) -> None:
        self.shard, self._most = Shard(0, 4), most

    def gather(self, rows: Tensor) -> Tensor:
        return torch.cat([rows, torch.tensor([self._most])])


@pytest.mark.parametrize(("most", "n_images", "at_once"), [(10**6, 6001, 1501), (10**6, 10**5, 4096), (700, 6001, 700)])
def test_gpus_share_the_images_to_validate(
    monkeypatch: pytest.MonkeyPatch, most: int, n_images: int, at_once: int
) -> None:
    monkeypatch.setattr(density, "available_bytes", lambda _: 80 * 2**30)
    with fake_gpu(monkeypatch), CUDA:
        flow = Glow((3, 32, 32), K=1, L=2, hidden_channels=8)
    assert _scored_at_once(flow, n_images, Fullest(most)) == at_once


def test_cpus_validate_batches_of_one_size() -> None:
    assert _scored_at_once(jittered_glow(), 600, Fullest(10**6)) == density.CPU_BATCH


def test_batches_too_small_to_be_shared_are_refused(table: ImageTable) -> None:
    given = task_of(table, batch_size=4, accumulate=5)
    with pytest.raises(GlowPipelineError, match=r"^train\.batch_size=4: batches of 4 images cannot be taken in "):
        train(given, new_flow(given))


def test_several_processes_need_a_folder(table: ImageTable) -> None:
    given = task_of(table, devices=2)
    with pytest.raises(ValueError, match="2 processes here need a folder"):
        train(given, new_flow(given))


def test_stopped_launcher_reports_the_last_step(
    table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> NoReturn:
        raise TrainingStopped(None, 143)

    monkeypatch.setattr("glow_pipeline.training.train.launch", stopped)
    TrainingFolder(tmp_path).write(checkpoint(9), 3)
    given = task_of(table, tmp_path, devices=2)
    with pytest.raises(TrainingStopped) as ended:
        train(given, new_flow(given))
    assert (ended.value.steps, ended.value.exit_code) == (9, 143)


def test_helping_machine_ends_with_exit_code_0(table: ImageTable, bare: pytest.MonkeyPatch) -> None:
    bare.setattr("glow_pipeline.training.train.launch", lambda *_, **__: None)
    bare.setenv("NODE_RANK", "1")
    given = task_of(table, nodes=2, rendezvous="127.0.0.1:1")
    with pytest.raises(HelperFinished) as ended:
        train(given, new_flow(given))
    assert (ended.value.steps, ended.value.exit_code) == (None, 0)
