"""The images of a run, by its parameters or by the stored model."""

import json
from pathlib import Path

import pytest

from glow_pipeline.images.table import ImageTable
from tests.project import TINY, copy_project, run, session, versions


def test_images_are_prepared_as_in_training(trained: Path) -> None:
    run(trained, "ood")
    table = versions(trained, "03_primary/textures/*/test/*/test")[-1]
    assert ImageTable(table).record.image_format.key == "1x16x16_4bit_pad"
    assert table.parts[-4] == "1x16x16_4bit_pad"


def test_interactive_catalog_has_the_stored_models_images(trained: Path) -> None:
    with session(trained) as created:
        table = created.load_context().catalog.load("train_images")
    assert table.record.image_format.key == "1x16x16_4bit_pad"


def test_training_ignores_the_stored_model(trained: Path) -> None:
    run(trained, "ingest", ingest={"size": 32})
    assert versions(trained, "03_primary/digits/1x32x32_4bit_resize/train/*/train")


def test_equal_images_are_not_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy_project(tmp_path)
    run(project, "ingest")
    monkeypatch.setattr("glow_pipeline.images.split_images.prepare", None)  # decoding again would fail
    run(project, "ingest")
    first, second = versions(project, "03_primary/digits/*/train/*/train/images.npy")
    assert first.samefile(second)


def test_tables_of_two_sizes_share_no_version(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    for size in (8, 16):
        run(project, "ingest", ingest={"size": size})
    assert {path.parts[-3] for path in versions(project, "03_primary/digits/*/train/*")} == {
        "1x8x8_4bit_resize",
        "1x16x16_4bit_resize",
    }


@pytest.mark.slow
def test_every_kind_of_flow_trains_scores_samples(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    run(
        project,
        "__default__",
        train=TINY["train"],
        model={**TINY["model"], "LU_decomposed": True, "learn_top": True, "y_condition": True},
    )
    (path,) = versions(project, "08_reporting/digits/train_metrics.json/*/*")
    figures = {name for name in json.loads(path.read_text()) if "bits_per_dim" in name}
    assert figures == {
        "test_bits_per_dim",
        "test_bits_per_dim_given_class",
        "best_val_bits_per_dim_given_class",
    }
    run(
        project,
        "__default__",
        train=TINY["train"],
        model={**TINY["model"], "flow_permutation": "shuffle", "flow_coupling": "additive"},
    )
    assert len(versions(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")) == 2
