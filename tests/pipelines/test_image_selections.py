"""Commands on any images: classes of one set against each other, and a user's own folders."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glow_pipeline.images.table import ImageTable
from glow_pipeline.training.model_file import read_record
from tests.project import TINY, copy_project, run, versions

SMALL = {**TINY, "train": {**TINY["train"], "batch_size": 16}}


def write_images(folder: Path, n: int, brightness: int, seed: int = 0) -> None:
    """Write noise of 12x10 RGB around a brightness, as PNG."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(n):
        pixels = random.integers(brightness, brightness + 60, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")


def scores(project: Path, pattern: str) -> pd.DataFrame:
    return pd.read_parquet(versions(project, f"07_model_output/{pattern}/ood_scores.parquet/*/*")[-1])


def refused(project: Path, pipeline: str, **parameters: Any) -> str:
    with pytest.raises(click.ClickException) as raised:
        run(project, pipeline, **parameters)
    assert "\n" not in raised.value.message
    return raised.value.message


@pytest.mark.slow
def test_classes_of_one_set_are_outliers_of_others(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    inside: dict[str, Any] = {"dataset": "digits", "ingest": {"classes": "0-4"}}
    run(project, "train", **inside, **SMALL)
    run(project, "ood", **inside, out_dataset="digits", ood={"out_classes": "5-9"})
    table = scores(project, "digits_class_0-4/vs_digits_class_5-9")
    assert sorted(table.loc[~table["is_out"], "label"].unique()) == [0, 1, 2, 3, 4]
    assert sorted(table.loc[table["is_out"], "label"].unique()) == [5, 6, 7, 8, 9]
    assert len(table) == 297
    (train,) = versions(project, "03_primary/digits_class_0-4/*/train/*/train")
    assert set(ImageTable(train).labels.tolist()) == {0, 1, 2, 3, 4}
    run(project, "ingest", dataset="digits")  # the complete set has another table
    (complete,) = versions(project, "03_primary/digits/*/train/*/train")
    assert len(ImageTable(complete)) == 1500
    assert len(ImageTable(train)) < 1500


def test_images_cannot_be_inside_and_outside(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    typed: dict[str, Any] = {"ingest": {"classes": "0-4"}, "ood": {"out_classes": "4-9"}}
    line = refused(project, "__default__", out_dataset="digits", **typed)
    assert line.startswith("out_dataset=digits_class_4-9: its images are among those of dataset=digits_class_0-4")


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with a model of the good ones in a folder of good and bad images; and that folder."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder / "bad", 15, 150, seed=1)
    write_images(folder / "good", 60, 20)
    project = copy_project(tmp_path_factory.mktemp("project"))
    ingest = {"path": str(folder), "classes": 1, "eval_percentage": 20.0, "size": 8}
    run(project, "train", dataset="folder", ingest=ingest, **SMALL)
    return project, folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with a model of a flat folder called `set`, and that folder."""
    folder = tmp_path_factory.mktemp("flat") / "set"
    write_images(folder, 40, 20)
    project = copy_project(tmp_path_factory.mktemp("project"))
    run(project, "train", dataset="folder", ingest={"path": str(folder), "size": 8}, **SMALL)
    return project, folder


@contextmanager
def absent(folder: Path) -> Iterator[None]:
    """Move a folder away for the block."""
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(folder)


def key_of(project: Path) -> str:
    (model,) = versions(project, "06_models/*/glow_model.safetensors/*/*.safetensors")
    return read_record(model).dataset


def test_a_folder_is_its_own_outlier_problem(inspected: tuple[Path, Path]) -> None:
    project, folder = inspected
    # Neither another seed nor another default share makes an image a test image that training has seen.
    run(
        project,
        "ood",
        seed=7,
        dataset="folder",
        out_dataset="folder",
        ingest={"path": str(folder), "classes": 1},
        ood={"out_classes": 0},
    )
    table = scores(project, f"{key_of(project)}/vs_{key_of(project)[:-1]}0")
    (train,) = versions(project, "03_primary/*class_1/*/train/*/train")
    trained_on = set(ImageTable(train).names or ())
    tested = set(table["file"])
    assert len(tested) == len(table)
    assert 6 <= len(tested) <= 25  # about a fifth of 75, good and bad
    assert not tested & trained_on
    good = {f"good/{i:03}.png" for i in range(60)}
    assert {name for name in tested if name in good} == good - trained_on
    assert {Path(name).parts[0] for name in trained_on} == {"good"}
    assert {Path(name).parts[0] for name in table.loc[table["is_out"], "file"]} == {"bad"}


def test_all_images_of_another_folder_are_outliers(inspected: tuple[Path, Path], tmp_path: Path) -> None:
    project, folder = inspected
    write_images(tmp_path / "others", 9, 100)
    typed = {"path": str(folder), "classes": 1}
    run(
        project, "ood", dataset="folder", out_dataset="folder", ingest=typed, ood={"out_path": str(tmp_path / "others")}
    )
    table = pd.concat(
        pd.read_parquet(path) for path in versions(project, "07_model_output/*/vs_folder_others/ood_scores.parquet/*/*")
    )
    assert sorted(table.loc[table["is_out"], "file"]) == [f"{i:03}.png" for i in range(9)]


def test_percentage_contradicting_the_model_is_refused(inspected: tuple[Path, Path]) -> None:
    project, folder = inspected
    typed = {"path": str(folder), "classes": 1, "eval_percentage": 50.0}
    line = refused(project, "ood", dataset="folder", out_dataset="digits", ingest=typed)
    assert "ingest.eval_percentage=50.0: the stored model" in line
    assert "ingest.eval_percentage=20.0" in line


def test_unreadable_files_stop_or_are_skipped(tmp_path: Path) -> None:
    project, folder = copy_project(tmp_path / "project"), tmp_path / "images"
    write_images(folder, 20, 50)
    (folder / "003.png").write_bytes(b"")
    (folder / "004.png").write_bytes((folder / "005.png").read_bytes()[:60])
    typed: dict[str, Any] = {"dataset": "folder", "ingest": {"path": str(folder), "size": 8, "eval_percentage": 50.0}}
    line = refused(project, "ingest", **typed)
    assert "2 unreadable files: " in line
    assert "003.png (empty file)" in line
    assert "004.png (" in line
    assert "ingest.on_unreadable=skip" in line
    assert versions(project, "03_primary/**/images.npy") == []
    typed["ingest"]["on_unreadable"] = "skip"
    run(project, "ingest", **typed)
    tables = [ImageTable(path) for path in versions(project, "03_primary/folder_images/*/t*/*/t*")]
    assert len(tables) == 2
    assert sum(map(len, tables)) == 18
    assert sorted(name for table in tables for name, _ in table.unreadable()) == ["003.png", "004.png"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dataset": "folder", "ingest": {"path": "nowhere"}}, "nowhere: no such folder"),
        ({"dataset": "folder", "ingest": {"path": "conf"}}, "conf: no image in it"),
        (
            {"dataset": "imagenet"},
            "ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar: missing",
        ),
        ({"dataset": "celeba"}, "01_raw/celeba: img_align_celeba.zip, list_attr_celeba.txt"),
    ],
)
def test_unavailable_images_stop_before_the_run(tmp_path: Path, parameters: dict[str, Any], message: str) -> None:
    project = copy_project(tmp_path, mlflow_used=False)
    assert message in refused(project, "train", **parameters)
    assert not (project / "mlflow.db").exists()


def test_other_images_under_the_same_name_are_refused(inspected: tuple[Path, Path], tmp_path: Path) -> None:
    project, folder = inspected
    write_images(tmp_path / folder.name / "bad", 15, 150, seed=1)
    write_images(tmp_path / folder.name / "good", 30, 20, seed=2)
    typed = {"path": str(tmp_path / folder.name), "classes": 1}
    line = refused(project, "ood", dataset="folder", out_dataset="digits", ingest=typed)
    assert f"in {tmp_path / folder.name}: model " in line
    version = versions(project, "06_models/*/glow_model.safetensors/*")[-1].name
    assert f"set stored_model={version}" in line
    run(project, "ood", dataset="folder", out_dataset="digits", ingest=typed, stored_model=version)


def test_folder_may_move_with_its_images(inspected: tuple[Path, Path], tmp_path: Path) -> None:
    project, folder = inspected
    shutil.copytree(folder, tmp_path / folder.name)
    typed = {"path": str(tmp_path / folder.name), "classes": 1}
    run(project, "ood", dataset="folder", out_dataset="digits", ingest=typed)
    assert len(scores(project, f"{key_of(project)}/vs_digits")) == 15 + 297


def test_trained_images_are_never_tested(trained: tuple[Path, Path], tmp_path: Path) -> None:
    original, folder = trained
    project = tmp_path / "project"
    shutil.copytree(original, project)
    (train,) = versions(project, "03_primary/folder_set/*/train/*/train")
    trained_on = list(ImageTable(train).names or ())
    others = tmp_path / "others"
    write_images(others, 7, 20, seed=5)
    for k, name in enumerate(trained_on[:5]):
        shutil.copy(folder / name, others / f"renamed_{k}.png")
    (model,) = versions(project, "06_models/folder_set/glow_model.safetensors/*/*.safetensors")
    typed = {"name": "set", "eval_path": str(others)}
    shutil.rmtree(project / "data/03_primary")
    with absent(folder):
        run(project, "ood", dataset="folder", out_dataset="digits", ingest=typed, stored_model=str(model))
    table = scores(project, "folder_set/vs_digits")
    assert sorted(table.loc[~table["is_out"], "file"]) == [f"{i:03}.png" for i in range(7)]
    metrics = json.loads(versions(project, "08_reporting/folder_set/vs_digits/ood_metrics.json/*/*")[-1].read_text())
    assert (metrics["n_in"], metrics["in_copies_of_train"]) == (7, 5)
    (tested,) = versions(project, "03_primary/folder_set/*/test/*/test")
    names = list(ImageTable(tested).names or ())
    inside = table[~table["is_out"]]
    assert [names[row] for row in inside["index"]] == inside["file"].tolist()


def test_unreadable_files_are_rows_without_a_score(trained: tuple[Path, Path], tmp_path: Path) -> None:
    project, folder = trained
    write_images(tmp_path / "out", 6, 90)
    (tmp_path / "out" / "empty.png").touch()
    typed: dict[str, Any] = {"dataset": "folder", "out_dataset": "folder", "ood": {"out_path": str(tmp_path / "out")}}
    run(project, "ood", **typed, ingest={"path": str(folder), "on_unreadable": "skip"})
    table = scores(project, "folder_set/vs_folder_out")
    (row,) = table[table["unreadable"].notna()].to_dict("records")
    assert (row["file"], row["unreadable"], row["is_out"]) == ("empty.png", "empty file", True)
    assert np.isnan(row["nll_bits_per_dim"])
    metrics = json.loads(
        versions(project, "08_reporting/folder_set/vs_folder_out/ood_metrics.json/*/*")[-1].read_text()
    )
    assert metrics["n_out"] == 6


def test_sampling_needs_no_folder(trained: tuple[Path, Path]) -> None:
    project, folder = trained
    with absent(folder):
        run(project, "sample", dataset="folder", ingest={"name": "set"})
        run(project, "sample", dataset="folder", ingest={"path": str(folder)})
        line = refused(project, "sample", dataset="folder", ingest={"name": "set"}, sample={"mode": "interpolate"})
    assert len(versions(project, "07_model_output/folder_set/samples_normal.png/*/*")) == 2
    assert line.startswith(f"ingest.path={folder}: no such folder")


def test_folder_inside_its_test_folder_is_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    write_images(tmp_path / "all" / "good", 4, 50)
    typed = {"path": str(tmp_path / "all" / "good"), "eval_path": str(tmp_path / "all")}
    assert "contains ingest.path" in refused(project, "train", dataset="folder", ingest=typed)


def test_class_typed_two_ways_is_the_same_class(inspected: tuple[Path, Path]) -> None:
    project, folder = inspected
    typed = {"path": str(folder), "classes": 1}
    line = refused(
        project, "ood", dataset="folder", out_dataset="folder", ingest=typed, ood={"out_classes": "bad+good"}
    )
    assert "out_dataset=folder_" in line
    assert "its images are among those of dataset=" in line


def test_copies_of_training_images_are_no_test_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies are of two formats, so that their files differ."""
    project, folder = copy_project(tmp_path / "project"), tmp_path / "images"
    write_images(folder, 40, 50)
    for path in list(folder.glob("*.png")):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".bmp"))
    (folder / "notes.txt").write_text("no picture")
    ingest = {"path": str(folder), "size": 8, "eval_percentage": 40.0, "name": "twins"}
    run(project, "train", dataset="folder", ingest=ingest, **SMALL)
    train, test = (
        ImageTable(versions(project, f"03_primary/folder_twins/*/{split}/*/*")[0]) for split in ("train", "test")
    )
    metrics = json.loads(versions(project, "08_reporting/folder_twins/train_metrics.json/*/*")[0].read_text())
    copies = np.isin(test.content_hashes, train.content_hashes).sum()
    assert 0 < metrics["test_copies_of_train"] == copies < len(test)
    assert metrics["n_test"] == len(test) - copies
    assert metrics["train_copies"] == len(train) - len(set(train.content_hashes.tolist()))
    assert metrics["val_copies_of_fit"] == 0
    closing = capsys.readouterr().out
    assert f"{len(train)} images; left out: 1 .txt" in closing
    assert f"  {copies} " in closing


@pytest.mark.slow
def test_outlier_classes_are_named_as_they_are_scored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project, folder = copy_project(tmp_path / "project"), tmp_path / "pets"
    for k, name in enumerate(("cats", "dogs")):
        write_images(folder / name, 30, 60 * k, seed=k)
    typed: dict[str, Any] = {"dataset": "folder", "out_dataset": "folder"}
    ingest = {"path": str(folder), "classes": "cats"}
    run(project, "train", **typed, ingest={**ingest, "size": 8}, ood={"out_classes": "dogs"}, **SMALL)
    version = versions(project, "06_models/*/glow_model.safetensors/*")[-1].name
    write_images(folder / "ants", 60, 120, seed=9)
    with caplog.at_level("INFO"):
        run(project, "ood", **typed, ingest=ingest, ood={"out_classes": 2}, stored_model=version)
    assert "ood.out_classes=2: these are the folders ants of" in caplog.text
    table = scores(project, "*/vs_*")
    assert {Path(name).parts[0] for name in table.loc[table["is_out"], "file"]} == {"ants"}
    line = refused(project, "ood", **typed, ingest=ingest, ood={"out_classes": 0}, stored_model=version)
    assert "its images are among those of dataset=folder_pets_class_cats" in line


def test_images_that_are_inside_are_no_outliers(trained: tuple[Path, Path], tmp_path: Path) -> None:
    (project, folder), out = trained, tmp_path / "mixed"
    shutil.copytree(folder, out)
    write_images(out / "more", 5, 100, seed=8)
    typed: dict[str, Any] = {"dataset": "folder", "out_dataset": "folder", "ingest": {"path": str(folder)}}
    run(project, "ood", **typed, ood={"out_path": str(out)})
    metrics = json.loads(
        versions(project, "08_reporting/folder_set/vs_folder_mixed/ood_metrics.json/*/*")[-1].read_text()
    )
    assert (metrics["n_out"], metrics["out_copies_of_train"] + metrics["out_copies_of_in"]) == (5, 40)
