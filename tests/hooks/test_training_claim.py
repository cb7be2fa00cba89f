"""The training that a run claims, and when it is finished."""

import errno
import os
import pickle
import signal
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, cast

import click
import pytest
from safetensors.torch import load_file

from glow_pipeline.hooks.training_claim import TrainingClaim
from glow_pipeline.pipelines.train import nodes
from glow_pipeline.training import checkpoint as checkpoint_module
from glow_pipeline.training.resume import ClaimedTraining
from glow_pipeline.training.step import TrainingStep
from tests.hooks.helpers import refused, statuses, trainings
from tests.processes import ended
from tests.project import copy_project, run, versions
from tests.training.faults import WRITES
from tests.training.test_checkpoint import Payload

SETTINGS: dict[str, Any] = {
    "model": {"K": 1, "L": 1, "hidden_channels": 4},
    "train": {"n_epochs": 2, "warmup": 0.0, "checkpoint_every": "3steps"},
}


def models(project: Path) -> list[dict[str, bytes]]:
    """The tensors of each stored model."""
    return [
        {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
        for path in versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("uninterrupted"))
    run(project, "train", **SETTINGS)
    return project


def no_step(*_: object) -> NoReturn:
    raise AssertionError("a step was taken")


class FullFolder:
    """The folder of a training on a disk that is full."""

    released = False

    def finish(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def release(self) -> None:
        self.released = True


def test_training_is_released_if_finishing_fails() -> None:
    folder = FullFolder()
    with pytest.raises(OSError, match="No space left"), TrainingClaim(ClaimedTraining(cast(Any, folder))) as claim:
        claim.trained = True
    assert folder.released


def test_finished_training_keeps_its_last_checkpoint(uninterrupted: Path) -> None:
    (training,) = trainings(uninterrupted)
    assert training.finished
    assert len(training.checkpoints) == 1
    assert training.claim(), "nobody holds it"
    training.release()


def test_training_resumes_after_a_full_disk(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, written = copy_project(tmp_path), getattr(checkpoint_module, WRITES)
    left = iter(range(3))

    def fills(tensors: Any, path: Path, metadata: Any) -> None:
        if next(left, None) is not None:
            written(tensors, path, metadata=metadata)
        else:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, WRITES, fills)
        with pytest.raises(click.ClickException) as raised:
            run(project, "train", **SETTINGS)
    assert len(raised.value.message.splitlines()) == 1
    assert "No space left on device" in raised.value.message
    assert statuses(project) == ["FAILED"]
    (training,) = trainings(project)
    newest = training.newest()
    assert newest is not None
    assert (newest.step, training.finished) == (6, False)

    run(project, "train", **SETTINGS)
    assert statuses(project) == ["FINISHED"]
    assert len(trainings(project)) == 1
    assert models(project) == models(uninterrupted)


def run_until_evaluation(project: Path, proof: Path) -> None:
    """The run, killed when the trained model is stored and is to be evaluated."""

    def die(*_: object, **__: object) -> None:
        proof.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    setattr(nodes, "measure_images", die)  # noqa: B010  # mypy knows that it is another function
    run(project, "train", **SETTINGS)


def test_run_killed_after_training_only_evaluates(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, proof = copy_project(tmp_path), tmp_path / "proof"
    assert ended(run_until_evaluation, project, proof) == -signal.SIGKILL
    assert proof.exists()
    assert [training.finished for training in trainings(project)] == [False]
    assert statuses(project) == ["RUNNING"]

    monkeypatch.setattr(TrainingStep, "__call__", no_step)
    run(project, "train", **SETTINGS)
    assert [training.finished for training in trainings(project)] == [True]
    assert statuses(project) == ["FINISHED"]
    assert models(project) == models(uninterrupted) * 2
    assert len(versions(project, "08_reporting/digits/train_metrics.json/*/*")) == 1


@pytest.mark.parametrize("parameter", ["resume", "checkpoint"])
def test_pickle_is_refused_early(tmp_path: Path, parameter: str) -> None:
    proof = tmp_path / "proof"
    content = pickle.dumps(Payload(proof))
    path = tmp_path / f"step_{1:09d}.{sha256(content).hexdigest()[:16]}.safetensors"
    path.write_bytes(content)
    assert str(path) in refused(copy_project(tmp_path / "project"), "train", train={parameter: str(path)})
    assert not proof.exists()
    pickle.loads(content)
    assert proof.exists(), "the payload works"
