"""The parameters of the newest results in data/."""

from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.drawing.newest import newest_parameters
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.model_file import write_model
from glow_pipeline.training.records import ModelRecord
from tests.conftest import jittered_glow, model_record


def store(data: Path, *paths: str) -> Path:
    """Make empty versions, each a second later than the one before."""
    for second, path in enumerate(paths):
        (data / path / f"2026-01-01T00.00.{second:02}.000Z").mkdir(parents=True)
    return data


def store_model(data: Path, record: ModelRecord) -> Path:
    """Store a model of the folder `xrays`."""
    path = data / "06_models/folder_xrays/glow_model.safetensors/2026-01-01T00.00.00.000Z/glow_model.safetensors"
    path.parent.mkdir(parents=True)
    write_model(path, record, jittered_glow().state_dict(), None, None)
    return path


def test_empty_project_has_no_newest_results(tmp_path: Path) -> None:
    assert newest_parameters(tmp_path) == {}


def test_images_alone_are_the_newest_results(tmp_path: Path) -> None:
    assert newest_parameters(store(tmp_path, "03_primary/svhn/3x32x32_8bit_resize/train")) == {"dataset": "svhn"}


def test_newest_dataset_wins_with_its_own_outliers(tmp_path: Path) -> None:
    data = store(
        tmp_path,
        "08_reporting/mnist/vs_svhn/ood_metrics.json",
        "08_reporting/digits/vs_mnist/ood_metrics.json",
        "07_model_output/mnist/samples_vtemp.png",
        "03_primary/cifar10/3x32x32_8bit_resize/train",
    )
    assert newest_parameters(data) == {"dataset": "mnist", "out_dataset": "svhn", "sample": {"mode": "vtemp"}}


def test_filmstrip_of_a_training_is_no_sampling_mode(tmp_path: Path) -> None:
    data = store(tmp_path, "07_model_output/digits/samples_nearest.png", "08_reporting/digits/samples_by_epoch.png")
    assert newest_parameters(data) == {"dataset": "digits", "sample": {"mode": "nearest"}}


def test_newest_of_each_kind_is_shown(tmp_path: Path) -> None:
    data = store(
        tmp_path,
        "07_model_output/digits/samples_normal.png",
        "07_model_output/digits/samples_interpolate.png",
        "08_reporting/digits/vs_mnist/ood_roc.png",
        "08_reporting/digits/vs_svhn/ood_roc.png",
        "08_reporting/digits/score_scans/report.html",
        "08_reporting/digits/score_history.csv",
    )
    shown = newest_parameters(data)
    assert (shown["sample"], shown["out_dataset"], shown["score"]) == (
        {"mode": "interpolate"},
        "svhn",
        {"images": "scans"},
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("octmnist_64", {"out_dataset": "octmnist_64"}),
        ("mnist_class_0-2_7", {"out_dataset": "mnist", "ood": {"out_classes": ["0-2", "7"]}}),
        ("folder_xrays", {"out_dataset": "folder", "ood": {"out_path": "xrays"}}),
        ("shards_photos", {"out_dataset": "shards", "ood": {"out_path": "photos"}}),
        ("folder_xrays_class_ill", {}),
        ("unknown", {}),
    ],
)
def test_outliers_follow_from_their_name(tmp_path: Path, name: str, expected: dict[str, Any]) -> None:
    shown = newest_parameters(store(tmp_path, f"08_reporting/digits/vs_{name}/ood_roc.png"))
    assert shown == {"dataset": "digits", **expected}
    assert not expected or Parameters.model_validate(shown).out_image_selection.key == name


def test_mutated_model_is_told_from_the_dataset(tmp_path: Path) -> None:
    data = store(tmp_path, "08_reporting/digits/training_curves.png", "07_model_output/digits/vs_svhn/ood.parquet")
    store(data, "08_reporting/digits/mutated/vs_mnist/ood_roc.png")  # the oldest
    assert newest_parameters(data)["out_dataset"] == "svhn"


def test_models_record_names_the_folder(tmp_path: Path) -> None:
    """The name of a folder's images does not say where they are."""
    made_with = {"dataset": "folder", "ingest": {"path": "~/xrays", "size": 32, "name": None}}
    store_model(tmp_path, model_record().model_copy(update={"parameters": made_with}))
    assert newest_parameters(tmp_path) == {"dataset": "folder", "ingest": {"path": "~/xrays"}}


def test_damaged_model_is_passed_over(tmp_path: Path) -> None:
    store_model(tmp_path, model_record()).write_bytes(b"damaged")
    assert newest_parameters(tmp_path) == {"dataset": "folder", "ingest": {"name": "xrays"}}
