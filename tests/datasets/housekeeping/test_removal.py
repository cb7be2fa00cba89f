"""The choice of what to remove, sizes, and removal."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from glow_pipeline.datasets.housekeeping import removal
from glow_pipeline.datasets.housekeeping.disk import bytes_of, freed_by, in_words, on_disk
from glow_pipeline.datasets.housekeeping.in_buckets import entries_elsewhere
from glow_pipeline.datasets.housekeeping.removal import check_removable, choose, delete, remove
from glow_pipeline.datasets.housekeeping.stored import Stored, find_leftovers, find_stored
from glow_pipeline.errors import GlowPipelineError

NOW = datetime(2026, 2, 1, tzinfo=UTC)
OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-31T12.00.00.000Z"
CATALOG = {
    "_in": "*",
    "train_images": {"type": "x.ImageTableDataset", "filepath": "data/03_primary/*/train", "versioned": True},
    "glow_model": {"type": "x.GlowModelDataset", "filepath": "data/06_models/*/m.safetensors", "versioned": True},
    "model_card": {"type": "x.ModelCardDataset", "filepath": "data/06_models/*/m.safetensors", "versioned": True},
    "samples": {"type": "x.PictureDataset", "filepath": "data/07/*/samples_*.png", "versioned": True},
    "remote": {"type": "x.PictureDataset", "filepath": "sftp://host/*/a.png", "versioned": True},
    "checkpoints": {"type": "x.FolderDataset", "filepath": "data/06_models/*/checkpoints"},
    "benchmark_scores": {"type": "x.FolderDataset", "filepath": "data/07/*/benchmark"},
    "score_progress": {"type": "x.FolderDataset", "filepath": "data/07/*/score_*/progress"},
    "ood_progress": {"type": "x.FolderDataset", "filepath": "data/07/*/ood_progress"},
}
FILES = (
    f"03_primary/digits/1x8x8/train/{OLD}/train/images.npy",
    "03_primary/digits/1x8x8/train/.parts-0123-64/images-00000.npy",
    "03_primary/digits/1x8x8/train/.made-with-0123/made_with.json",
    f"06_models/digits/m.safetensors/{OLD}/m.safetensors",
    f"06_models/digits/mutated/m.safetensors/{NEW}/m.safetensors",
    f"06_models/digits/m.safetensors/.removed.1.{OLD}/m.safetensors",
    f"07/digits/samples_normal.png/{NEW}/samples_normal.gif",
    f"06_models/digits/checkpoints/abc/{OLD}/lock",
    f"07/digits/benchmark/{OLD}_0123/a.parquet",
    "07/digits/benchmark/continues-0123-of-2/0",
    "07/digits/score_mine/progress/0123/a.npy",
    "07/digits/ood_progress/textures_4567/a.parquet",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"12345")
    return tmp_path


def folder(stored: Stored) -> Path:
    assert isinstance(stored.path, Path)
    return stored.path


def test_everything_stored_is_found_once(project: Path) -> None:
    found = {(each.entry, each.images, each.version) for each in find_stored(CATALOG, project)}
    assert found == {
        ("train_images", "digits", OLD),
        ("train_images", "digits", "parts-0123-64"),
        ("train_images", "digits", "made-with-0123"),
        ("glow_model", "digits", OLD),
        ("glow_model", "digits", NEW),
        ("samples", "digits", NEW),
        ("checkpoints", "digits", OLD),
        ("benchmark_scores", "digits", OLD),
        ("benchmark_scores", "digits", "continues-0123-of-2"),
        ("score_progress", "digits", "0123"),
        ("ood_progress", "digits", "textures_4567"),
    }
    assert entries_elsewhere(CATALOG) == ["remote"]


def test_choice_follows_labels_age_and_kept_ones(project: Path) -> None:
    stored = [each for each in find_stored(CATALOG, project) if each.entry == "glow_model"]
    old, _ = stored
    assert choose(stored, ["all"], 0, None, NOW) == stored
    assert choose(stored, ["2026-01-01"], 0, None, NOW) == [old]
    assert choose(stored, ["all"], 0, 7, NOW) == [old]
    assert choose(stored, ["all"], 1, None, NOW) == []  # each is the newest of its folder
    beside = Stored("glow_model", "version", "digits", NEW, folder(old).with_name(NEW))
    assert choose([old, beside], ["all"], 1, None, NOW) == [old]
    with pytest.raises(GlowPipelineError, match="--remove 2027: no stored version begins so"):
        choose(stored, ["2027"], 0, None, NOW)


def test_unfinished_parts_are_not_kept_as_versions(project: Path) -> None:
    """Though their label comes after that of each version."""
    stored = [each for each in find_stored(CATALOG, project) if each.entry == "train_images"]
    chosen = choose(stored, ["all"], 1, None, NOW)
    assert {each.version for each in chosen} == {"parts-0123-64", "made-with-0123"}
    remove(chosen)
    assert [each.version for each in find_stored(CATALOG, project) if each.entry == "train_images"] == [OLD]


def test_removed_folder_is_gone_and_others_stay(project: Path) -> None:
    stored = find_stored(CATALOG, project)
    gone = [each for each in stored if each.version == OLD]
    remove(gone)
    assert find_stored(CATALOG, project) == [each for each in stored if each.version != OLD]
    assert not any(folder(each).exists() for each in gone)


def test_interrupted_removal_leaves_nothing_half_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (each,) = [each for each in find_stored(CATALOG, project) if (each.entry, each.version) == ("glow_model", OLD)]

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removal, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            remove([each])
    assert not folder(each).exists()
    assert each not in find_stored(CATALOG, project)
    assert len(list(folder(each).parent.glob(".removed.*"))) == 2
    for leftover in find_leftovers(CATALOG, project):
        delete(leftover)
    assert list(folder(each).parent.iterdir()) == []
    assert find_leftovers(CATALOG, project) == []


def test_leftovers_are_found_where_nothing_else_is_stored(project: Path) -> None:
    data = project / "data"
    made = [
        data / f"03_primary/digits/1x8x8/train/.removed.2.{OLD}",
        data / f"06_models/digits/checkpoints/abc/.removed.3.{OLD}",
        data / "07/digits/benchmark/.removed.4.0123",
    ]
    shutil.rmtree(data)
    for path in made:
        path.mkdir(parents=True)
    assert find_stored(CATALOG, project) == []
    assert find_leftovers(CATALOG, project) == made


def test_models_are_removed_last(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Path] = []
    monkeypatch.setattr(removal, "delete", removed.append)
    stored = find_stored(CATALOG, project)
    remove(stored)
    assert [path.parent.name for path in removed[-2:]] == ["m.safetensors", "m.safetensors"]
    assert len(removed) == len(stored)


def test_folders_removed_by_another_command_are_passed_over(project: Path) -> None:
    stored = find_stored(CATALOG, project)
    remove(stored)
    remove(stored)
    assert find_stored(CATALOG, project) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may change everything")
def test_unremovable_folder_is_named_first(project: Path) -> None:
    stored = find_stored(CATALOG, project)
    folder(stored[0]).chmod(0o500)
    with pytest.raises(PermissionError) as refused:
        check_removable(stored)
    assert refused.value.filename == str(stored[0].path)


def test_version_that_is_no_date_has_an_age(tmp_path: Path) -> None:
    wrong, other = (Stored("x", "version", "x", name, tmp_path) for name in ("2026-13-45T99.99.99.999Z", "other"))
    assert wrong.age(NOW) == other.age(NOW)


def test_data_may_be_a_link_but_no_dataset(project: Path) -> None:
    before = find_stored(CATALOG, project)
    (project / "data").rename(project / "disk")
    (project / "data").symlink_to(project / "disk")
    assert find_stored(CATALOG, project) == before
    (project / "disk" / "06_models" / "digits").rename(project / "shared")
    (project / "disk" / "06_models" / "digits").symlink_to(project / "shared")
    assert {each.entry for each in find_stored(CATALOG, project)} == {
        *("train_images", "samples", "benchmark_scores", "score_progress", "ood_progress"),
    }


def test_entries_of_a_person_are_not_listed(project: Path) -> None:
    own = {"labels": {"type": "pandas.CSVDataset", "filepath": "data/labels.csv", "versioned": True}}
    path = project / "data" / "labels.csv" / OLD / "labels.csv"
    path.parent.mkdir(parents=True)
    path.write_text("1")
    assert find_stored(own, project) == []


def test_checkpoints_in_a_fixed_folder_are_found(project: Path) -> None:
    fixed = {"checkpoints": {"type": "x.FolderDataset", "filepath": "data/06_models/digits/checkpoints"}}
    assert [each.version for each in find_stored(fixed, project)] == [OLD]


def test_brackets_in_a_path_are_no_pattern(project: Path) -> None:
    bracketed = {"glow_model": {**CATALOG["glow_model"], "filepath": "data/06_model[s]/*/m.safetensors"}}  # type: ignore[dict-item]
    assert find_stored(bracketed, project) == []


def test_link_to_a_folder_is_removed_alone(project: Path) -> None:
    target = project / "elsewhere"
    shutil.copytree(project / "data" / "07" / "digits" / "samples_normal.png" / NEW, target)
    link = project / "data" / "07" / "digits" / "samples_normal.png" / "2026-01-31T13.00.00.000Z"
    link.symlink_to(target)
    remove([each for each in find_stored(CATALOG, project) if each.path == link])
    assert not link.exists()
    assert (target / "samples_normal.gif").is_file()


def test_hard_links_count_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x").write_bytes(bytes(1000))
    os.link(tmp_path / "a" / "x", tmp_path / "b" / "x")
    (tmp_path / "b" / "own").write_bytes(bytes(10))
    both = [tmp_path / "a", tmp_path / "b"]
    assert bytes_of(on_disk(both)) == freed_by(on_disk(both)) == 1010
    assert freed_by(on_disk(both[:1])) == 0
    assert freed_by(on_disk(both[1:])) == 10


@pytest.mark.parametrize(("size", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_340_000_000, "2.3 GB")])
def test_sizes_are_readable(size: int, words: str) -> None:
    assert in_words(size) == words
