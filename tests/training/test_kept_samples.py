"""Samples by epoch beside the checkpoints: the same whether or not a training was stopped."""

import logging
from pathlib import Path

import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.plots.filmstrip import ROWS
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule, TrainingFolder
from glow_pipeline.training.epoch_samples import EpochSamples
from glow_pipeline.training.kept_samples import FOLDER, KEPT, MOST_WAITING, KeptSamples, read_kept_samples
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.training.helpers import N_FIT, N_VAL, STEPS, checkpoint, new_glow, new_trainer


@pytest.fixture
def tables(make_table: MakeTable) -> tuple[ImageTable, ImageTable]:
    return make_table(random_images(N_FIT), 4), make_table(random_images(N_VAL, seed=1), 4)


def keeper(folder: Path, temperature: float = 0.7) -> KeptSamples:
    return KeptSamples(folder, EpochSamples(0, temperature))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / FOLDER).iterdir()) if (folder / FOLDER).exists() else []


def train(folder: Path, tables: tuple[ImageTable, ImageTable], **settings: object) -> None:
    """Train from the newest checkpoint of the folder, as `training.train` does."""
    kept, training = keeper(folder), TrainingFolder(folder)
    folder.mkdir(exist_ok=True)
    new_trainer(
        tables,
        new_glow(),
        settings={"n_epochs": 6, "sample_and_save_freq": 2, **settings},
        start=training.newest(),
        checkpoints=CheckpointSchedule(training, Interval(STEPS, "steps"), 9, before=kept.write),
        reporter=kept,
    ).fit()


def test_samples_are_drawn_with_the_same_latents(tmp_path: Path) -> None:
    kept, model = keeper(tmp_path), jittered_glow()
    kept.samples(model, 3)
    kept.samples(model, 7)
    kept.write()
    found = read_kept_samples(tmp_path, 7, 0.7)
    assert list(found) == [3, 7]
    assert torch.equal(found[3], found[7])
    assert found[3].shape == (KEPT, 3, 8, 8)


def test_overflowing_samples_are_crossed_out(tmp_path: Path) -> None:
    kept, model = keeper(tmp_path), jittered_glow()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    kept.samples(model, 1)
    kept.write()
    red, green, _ = read_kept_samples(tmp_path, 1, 0.7)[1][0].int()
    assert (red > green + 100).any()


def test_classes_of_a_conditioned_model_are_in_turn(tmp_path: Path) -> None:
    kept, model = keeper(tmp_path), jittered_glow(y_condition=True, num_classes=3)
    kept.samples(model, 1)
    kept.write()
    assert read_kept_samples(tmp_path, 1, 0.7)[1].shape[0] == KEPT


def test_every_sampled_epoch_is_kept(tmp_path: Path, tables: tuple[ImageTable, ImageTable]) -> None:
    train(tmp_path / "a", tables, n_epochs=5)
    assert files(tmp_path / "a") == [f"epoch_{epoch:06d}.safetensors" for epoch in (2, 4, 5)]
    train(tmp_path / "b", tables, n_epochs=2, sample_and_save_freq=100)
    assert files(tmp_path / "b") == ["epoch_000002.safetensors"]


def test_stopped_training_has_the_same_samples(tmp_path: Path, tables: tuple[ImageTable, ImageTable]) -> None:
    """A kill is what a resumed training cannot tell from the loss of all later checkpoints."""
    train(tmp_path / "whole", tables)
    train(tmp_path / "killed", tables)
    for path in TrainingFolder(tmp_path / "killed").checkpoints:
        if int(path.name[5:14]) > 3 * STEPS:
            path.unlink()
    for epoch in (4, 6):
        (tmp_path / "killed" / FOLDER / f"epoch_{epoch:06d}.safetensors").unlink()
    train(tmp_path / "killed", tables)
    whole, killed = (read_kept_samples(tmp_path / name, 6, 0.7) for name in ("whole", "killed"))
    assert list(whole) == list(killed) == [2, 4, 6]
    assert all(torch.equal(whole[epoch], killed[epoch]) for epoch in whole)
    for name in files(tmp_path / "whole"):
        assert (tmp_path / "whole" / FOLDER / name).read_bytes() == (tmp_path / "killed" / FOLDER / name).read_bytes()


def test_checkpoint_follows_the_samples_before_it(tmp_path: Path) -> None:
    kept, folder = keeper(tmp_path), TrainingFolder(tmp_path)
    schedule = CheckpointSchedule(folder, Interval(1, "steps"), 1, before=kept.write)
    kept.samples(jittered_glow(), 1)
    assert files(tmp_path) == []
    schedule.write(checkpoint(5))
    assert files(tmp_path) == ["epoch_000001.safetensors"]


def test_unwritable_samples_stop_the_checkpoint(tmp_path: Path) -> None:
    kept, folder = keeper(tmp_path), TrainingFolder(tmp_path)
    (tmp_path / FOLDER).write_text("a file where the folder would be")
    kept.samples(jittered_glow(), 1)
    with pytest.raises(GlowPipelineError, match=r"the checkpoint of step 5 cannot be written \(.+\); make room"):
        CheckpointSchedule(folder, Interval(1, "steps"), 1, before=kept.write).write(checkpoint(5))
    assert folder.checkpoints == []


def test_few_epochs_wait_in_memory(tmp_path: Path) -> None:
    kept, model = keeper(tmp_path), jittered_glow()
    for epoch in range(1, MOST_WAITING + 2):
        kept.samples(model, epoch)
    assert len(files(tmp_path)) == MOST_WAITING


def test_eight_epochs_are_read_with_both_ends(tmp_path: Path) -> None:
    kept, model = keeper(tmp_path), jittered_glow()
    for epoch in range(5, 105, 5):
        kept.samples(model, epoch)
    kept.write()
    found = list(read_kept_samples(tmp_path, 100, 0.7))
    assert (len(found), found[0], found[-1]) == (ROWS, 5, 100)
    assert list(read_kept_samples(tmp_path, 12, 0.7)) == [5, 10], "later ones are of a longer training"


def test_samples_of_another_temperature_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for epoch, temperature in ((1, 0.7), (2, 0.9)):
        kept = keeper(tmp_path, temperature)
        kept.samples(jittered_glow(), epoch)
        kept.write()
    with caplog.at_level(logging.WARNING):
        assert list(read_kept_samples(tmp_path, 2, 0.9)) == [2]
    assert "samples of 1 epochs were kept at another temperature" in caplog.text


def test_training_without_samples_has_none(tmp_path: Path) -> None:
    assert read_kept_samples(tmp_path, 9, 0.7) == {}


def test_damaged_samples_are_named(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / "epoch_000001.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(GlowPipelineError, match=r"samples that cannot be read.*delete the file"):
        read_kept_samples(tmp_path, 1, 0.7)


def test_incomplete_files_of_a_kill_are_removed(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / ".1f2e3d4c.epoch_000001.safetensors").write_bytes(b"incomplete")
    keeper(tmp_path)
    assert files(tmp_path) == []


def test_weights_are_unchanged_by_sampling(tmp_path: Path, tables: tuple[ImageTable, ImageTable]) -> None:
    def weights(reporter: KeptSamples | None) -> Glow:
        model = new_glow()
        settings: dict[str, object] = {"n_epochs": 2, "sample_and_save_freq": 1}
        new_trainer(tables, model, settings=settings, reporter=reporter).fit()
        return model

    plain, sampled = weights(None).state_dict(), weights(keeper(tmp_path)).state_dict()
    assert all(torch.equal(plain[name], sampled[name]) for name in plain)
